"""Cuts a batch where a user's id changes, so that everything else may run set-based: users, orders, questions."""

from collections.abc import Mapping, Sequence

from dbstorage.commands.users import CreateUser
from dbstorage.storage.work import Work


def may_move_users(batch: Sequence[Work]) -> bool:
    """Whether a createUser stands behind an order or a question, so that their order could matter."""
    others_before = False
    for work in batch:
        if isinstance(work.command, CreateUser):
            if others_before:
                return True
        else:
            others_before = True
    return False


def emails(batch: Sequence[Work]) -> list[str]:
    """The e-mail addresses that the batch's createUsers name."""
    return [work.command.email for work in batch if isinstance(work.command, CreateUser)]


def split_at_moves(batch: Sequence[Work], user_ids: Mapping[str, str]) -> list[list[Work]]:
    """Cut the batch before each createUser that gives an existing person another userID.

    New users and changed e-mail addresses commute with orders and questions: run first, they only let an order find
    its user earlier. A moved userID does not: an order before it belongs to the old id, one behind it to the new.
    `user_ids` maps the e-mail addresses that exist in the database to their userID.
    """
    known = dict(user_ids)
    segments: list[list[Work]] = [[]]
    for work in batch:
        command = work.command
        if isinstance(command, CreateUser):
            if known.get(command.email, command.user_id) != command.user_id and segments[-1]:
                segments.append([])
            known[command.email] = command.user_id
        segments[-1].append(work)
    return segments
