"""Cuts a batch where a user's id changes, so that everything else may run set-based: users, orders, questions."""

from collections.abc import Sequence

from dbstorage.commands.users import CreateUser
from dbstorage.errors import DatabaseFaultError
from dbstorage.storage.refused import Refused
from dbstorage.storage.resources import Resources
from dbstorage.storage.transaction import without_transaction
from dbstorage.storage.users import KnownUsers, UserWrite, read_known_users
from dbstorage.storage.work import Work
from dbstorage.storage.writes import user_write


def segments(resources: Resources, works: list[Work]) -> list[list[Work]]:
    """The batch in parts that can each run as a set. Raises DatabaseUnavailableError."""
    if not may_move_users(works):
        return [works]
    users = user_writes(works)
    try:
        known = without_transaction(
            resources, lambda connection: read_known_users(connection, resources.service(connection), users)
        )
    except Refused as refused:
        raise DatabaseFaultError(refused.sentence) from refused
    return split_at_moves(works, known)


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


def user_writes(batch: Sequence[Work]) -> list[UserWrite]:
    """The batch's createUsers."""
    return [user_write(work, work.command) for work in batch if isinstance(work.command, CreateUser)]


def split_at_moves(batch: Sequence[Work], known: KnownUsers) -> list[list[Work]]:
    """Cut the batch before each createUser that gives an existing person another userID.

    New users and changed e-mail addresses commute with orders and questions: run first, they only let an order find
    its user earlier. A moved userID does not: an order before it belongs to the old id, one behind it to the new.
    `known` are the users that the batch's createUsers meet in the database.
    """
    segments: list[list[Work]] = [[]]
    for work in batch:
        command = work.command
        if isinstance(command, CreateUser):
            moves = known.decide(user_write(work, command)).moves_from is not None
            if moves and segments[-1]:
                segments.append([])
        segments[-1].append(work)
    return segments
