"""Cuts a batch where a user's id changes behind a question, so that each part can run as a set."""

from collections.abc import Sequence

from dbstorage.batch.resources import Resources
from dbstorage.batch.transaction import without_transaction
from dbstorage.commands.questions import HistoryQuestion
from dbstorage.commands.users import CreateUser
from dbstorage.errors import DatabaseFaultError
from dbstorage.storage.refused import Refused
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
    """Whether a createUser stands behind a question, so that their order could matter."""
    asked_before = False
    for work in batch:
        if isinstance(work.command, HistoryQuestion):
            asked_before = True
        elif asked_before and isinstance(work.command, CreateUser):
            return True
    return False


def user_writes(batch: Sequence[Work]) -> list[UserWrite]:
    """The batch's createUsers."""
    return [user_write(work, work.command) for work in batch if isinstance(work.command, CreateUser)]


def split_at_moves(batch: Sequence[Work], known: KnownUsers) -> list[list[Work]]:
    """Cut the batch between a question and a createUser behind it that gives an existing person another userID.

    With every other write behind it a question may change places: its answer then shows that write, too. A move is
    different, because the question names the old userID. Orders need no cut: each is written for who had its userID
    (see `people`). `known` are the users that the batch's createUsers meet in the database.
    """
    segments: list[list[Work]] = [[]]
    asked = False
    for work in batch:
        command = work.command
        if isinstance(command, HistoryQuestion):
            asked = True
        elif isinstance(command, CreateUser):
            moves = known.decide(user_write(work, command)).moves_from is not None
            if moves and asked:
                segments.append([])
                asked = False
        segments[-1].append(work)
    return segments
