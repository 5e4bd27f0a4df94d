"""Creating users: what each command does is decided over plain data, then written in as few statements as it takes."""

from collections.abc import Sequence, Set
from itertools import count
from typing import NamedTuple

from sqlalchemy import Connection

from dbstorage.commands.users import CreateUser
from dbstorage.errors import DBStorageError
from dbstorage.storage.outcome import Status
from dbstorage.storage.service import Service
from dbstorage.wire.entry_id import entry_id_at, position_of


class ConcurrentChangeError(DBStorageError):
    """Raised when another program changed the same user in the meantime; the transaction is to be run again."""

    code = "concurrent_change"


class KeptAwayError(DBStorageError):
    """Raised when a row of "User" is not written and nobody refused it: a trigger or a rule kept it away."""

    code = "not_stored"


class UserWrite(NamedTuple):
    """A createUser and its place in the stream; None where an operator called the task."""

    command: CreateUser
    position: int | None
    #: A command that failed before and is now meant to be decided anew.
    retry: bool = False


class Decision(NamedTuple):
    """What a createUser does; CREATED inserts, UPDATED changes the one side that differs, None is a conflict."""

    status: Status | None
    #: The userID that the row has before an update of the userID.
    moves_from: str | None = None


class KnownUsers:
    """The rows that a batch of createUsers can meet, and the last applied position of each identity.

    `refused` are the positions of commands that were recorded as conflicts: delivered again they stay so, because what
    came after them may have removed the conflict.
    """

    def __init__(
        self, rows: Sequence[tuple[str, str]], positions: dict[str, int], refused: Set[int] = frozenset()
    ) -> None:
        self.email_of = dict(rows)
        self.user_id_of = {email: user_id for user_id, email in rows}
        self.positions = positions
        self.refused = refused

    def decide(self, write: UserWrite) -> Decision:
        """Decide by SPEC 2.2 and take the change over, so that the next command of the batch sees it."""
        user_id, email = write.command
        if write.position in self.refused and not write.retry:
            return Decision(None)
        if write.position is not None:
            applied = max(self.positions.get(identity, -1) for identity in identities(write.command))
            if applied > write.position:
                return Decision(Status.SUPERSEDED)
        owner = self.user_id_of.get(email)
        if owner == user_id:
            decision = Decision(Status.UNCHANGED)
        elif owner is not None:
            if user_id in self.email_of:
                return Decision(None)
            decision = Decision(Status.UPDATED, moves_from=owner)
            del self.email_of[owner]
        elif user_id in self.email_of:
            decision = Decision(Status.UPDATED)
            del self.user_id_of[self.email_of[user_id]]
        else:
            decision = Decision(Status.CREATED)
        self.email_of[user_id] = email
        self.user_id_of[email] = user_id
        if write.position is not None:
            for identity in identities(write.command):
                self.positions[identity] = write.position
        return decision


def identities(command: CreateUser) -> tuple[str, str]:
    """The two keys under which the last applied createUser is remembered."""
    return f"id:{command.user_id}", f"email:{command.email}"


def store_users(connection: Connection, service: Service, writes: Sequence[UserWrite]) -> list[Decision]:
    """Apply createUsers in order; must run first in its transaction, which holds locks on these people until it ends.

    Raises ConcurrentChangeError when a program beside us created or changed one of them at the same moment.
    """
    keys = sorted({identity for write in writes for identity in identities(write.command)})
    connection.exec_driver_sql(
        # Sorted, so that two workers never wait for each other in a circle.
        "SELECT pg_advisory_xact_lock(hashtextextended('dbstorage:' || identity, 0)) "
        "FROM (SELECT identity FROM unnest(%s::text[]) AS identity ORDER BY identity) AS sorted",
        (keys,),
    )
    known = read_known_users(connection, service, writes)
    decisions = [known.decide(write) for write in writes]
    _write(connection, writes, decisions)
    _remember(connection, service, writes, decisions)
    return decisions


def read_known_users(connection: Connection, service: Service, writes: Sequence[UserWrite]) -> KnownUsers:
    """What these createUsers are decided by."""
    keys = [identity for write in writes for identity in identities(write.command)]
    rows = connection.exec_driver_sql(
        'SELECT "userID", "email" FROM "User" WHERE "userID" = ANY(%s) '
        'UNION SELECT "userID", "email" FROM "User" WHERE "email" = ANY(%s)',
        ([write.command.user_id for write in writes], [write.command.email for write in writes]),
    )
    known = [(row[0], row[1]) for row in rows]
    positions = connection.exec_driver_sql(
        "SELECT identity, entry_position FROM dbstorage.applied_users "
        "WHERE stream = %s AND consumer_group = %s AND life = %s AND identity = ANY(%s)",
        (*service, keys),
    )
    refused = connection.exec_driver_sql(
        "SELECT entry_id FROM dbstorage.failed_tasks "
        "WHERE stream = %s AND consumer_group = %s AND life = %s "
        "AND entry_id = ANY(%s) AND code = 'user_conflict' AND state <> 'resolved'",
        (
            *service,
            [entry_id_at(write.position) for write in writes if write.position is not None],
        ),
    )
    return KnownUsers(known, {row[0]: int(row[1]) for row in positions}, {position_of(row[0]) for row in refused})


def _write(connection: Connection, writes: Sequence[UserWrite], decisions: Sequence[Decision]) -> None:
    new: list[CreateUser] = []
    for write, decision in zip(writes, decisions, strict=True):
        if decision.status is Status.CREATED:
            new.append(write.command)
        elif decision.status is Status.UPDATED:
            _insert(connection, new)
            new.clear()
            _update(connection, write.command, decision.moves_from)
    _insert(connection, new)


def _insert(connection: Connection, new: Sequence[CreateUser]) -> None:
    if new and insert_users(connection, new) != len(new):
        raise KeptAwayError("The row of a user was not written, and nothing refused it.")


def insert_users(connection: Connection, new: Sequence[CreateUser], numbers: Sequence[tuple[str, int]] = ()) -> int:
    """Write new users; returns how many were. `numbers` are columns with a value instead of their sequence's."""
    names = ", ".join(f'"{name}"' for name, _ in [*numbers, ("userID", 0), ("email", 0)])
    values = "".join(f"{number}, " for _, number in numbers)
    # No ON CONFLICT: an index that we know nothing of may refuse, and then its name is what matters.
    inserted = connection.exec_driver_sql(
        f'INSERT INTO "User" ({names}) {"OVERRIDING SYSTEM VALUE " if numbers else ""}'
        f"SELECT {values}given.* FROM unnest(%s::text[], %s::text[]) AS given",
        ([command.user_id for command in new], [command.email for command in new]),
    )
    return inserted.rowcount


def _update(connection: Connection, command: CreateUser, moves_from: str | None) -> None:
    user_id, email = command
    if moves_from is not None:
        changed = connection.exec_driver_sql(
            'UPDATE "User" SET "userID" = %s WHERE "email" = %s AND "userID" = %s', (user_id, email, moves_from)
        )
    else:
        changed = connection.exec_driver_sql('UPDATE "User" SET "email" = %s WHERE "userID" = %s', (email, user_id))
    if changed.rowcount == 1:
        return
    still_there = connection.exec_driver_sql(
        'SELECT count(*) FROM "User" WHERE "userID" = %s AND ("email" = %s) = %s',
        (user_id if moves_from is None else moves_from, email, moves_from is not None),
    ).scalar_one()
    if still_there:
        raise KeptAwayError("The row of a user was not changed, and nothing refused it.")
    raise ConcurrentChangeError("Another program changed one of these users at the same moment.")


def _applied(writes: Sequence[UserWrite], decisions: Sequence[Decision]) -> list[UserWrite]:
    return [
        write
        for write, decision in zip(writes, decisions, strict=True)
        if decision.status not in (None, Status.SUPERSEDED)
    ]


def _remember(
    connection: Connection, service: Service, writes: Sequence[UserWrite], decisions: Sequence[Decision]
) -> None:
    positions = {
        identity: write.position
        for write in _applied(writes, decisions)
        if write.position is not None
        for identity in identities(write.command)
    }
    if positions:
        connection.exec_driver_sql(
            "INSERT INTO dbstorage.applied_users (stream, consumer_group, life, identity, entry_position) "
            "SELECT %s, %s, %s, * FROM unnest(%s::text[], %s::numeric[]) "
            "ON CONFLICT (stream, consumer_group, identity) DO UPDATE "
            "SET life = excluded.life, entry_position = CASE WHEN applied_users.life = excluded.life "
            "THEN greatest(applied_users.entry_position, excluded.entry_position) ELSE excluded.entry_position END",
            (*service, list(positions), list(positions.values())),
        )


class Journeys(NamedTuple):
    """Where people are at the end of a batch, by the userID that they had on the way."""

    #: For each userID that somebody has by one of these commands, the first who had it.
    arrived: dict[str, str]
    #: For each userID that somebody gave up, the one who had it before the batch.
    moved: dict[str, str]


def journeys(writes: Sequence[UserWrite], decisions: Sequence[Decision]) -> Journeys:
    """Follow the people through a batch: several may have the same userID one after the other."""
    people = count()
    person_of: dict[str, int] = {}  # userID -> who has it now
    first_with: dict[str, int] = {}
    left: dict[str, int] = {}
    for write, decision in zip(writes, decisions, strict=True):
        if decision.status in (None, Status.SUPERSEDED):
            continue
        user_id, old = write.command.user_id, decision.moves_from
        if old is not None:
            person = person_of.pop(old, None)
            if person is None:
                person = next(people)
                left.setdefault(old, person)
            person_of[user_id] = person
        person = person_of.setdefault(user_id, next(people))
        first_with.setdefault(user_id, person)
    at_last = {person: user_id for user_id, person in person_of.items()}
    return Journeys(
        {user_id: at_last[person] for user_id, person in first_with.items()},
        {user_id: at_last[person] for user_id, person in left.items()},
    )
