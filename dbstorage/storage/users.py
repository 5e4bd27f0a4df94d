"""Creating users: what each command does is decided over plain data, then written in as few statements as it takes."""

from collections.abc import Sequence, Set
from contextlib import nullcontext
from dataclasses import dataclass
from secrets import token_hex
from typing import NamedTuple

from sqlalchemy import Connection

from dbstorage.commands.users import CreateUser
from dbstorage.database.engine import patience
from dbstorage.errors import DBStorageError
from dbstorage.storage.outcome import Status
from dbstorage.storage.service import Service
from dbstorage.wire.entry_id import entry_id_at, position_of

#: Seconds for a statement that moves people: all of their orders are changed with them, some 12,000 a second. The main
#: process gives a job up a few seconds later.
MOVE_SECONDS = 25.0


class ConcurrentChangeError(DBStorageError):
    """Raised when another program changed the same user in the meantime; the transaction is to be run again."""


class KeptAwayError(DBStorageError):
    """Raised when a row of "User" is not written and nobody refused it: a trigger or a rule kept it away."""


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
        """Decide as docs/contract.md says (createUser), and apply it here: the next command of the batch sees it."""
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
    before = list(known.email_of.items())
    decisions = [known.decide(write) for write in writes]
    _write(connection, rows_after(before, writes, decisions))
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


@dataclass(slots=True)
class Row:
    """A row of "User" before a batch and behind it; one that is created has no `old` values."""

    old: CreateUser | None
    new: CreateUser


def rows_after(
    known: Sequence[tuple[str, str]], writes: Sequence[UserWrite], decisions: Sequence[Decision]
) -> list[Row]:
    """The rows that createUsers change or create, each once, however often it changes on the way."""
    rows = {user_id: Row(CreateUser(user_id, email), CreateUser(user_id, email)) for user_id, email in known}
    for write, decision in zip(writes, decisions, strict=True):
        user_id = write.command.user_id
        if decision.status is Status.CREATED:
            rows[user_id] = Row(None, write.command)
        elif decision.status is Status.UPDATED:
            row = rows.pop(decision.moves_from or user_id)
            row.new = write.command
            rows[user_id] = row
    return [row for row in rows.values() if row.old != row.new]


def _write(connection: Connection, rows: Sequence[Row]) -> None:
    """Change rows, then create new ones, which may take what others have given up."""
    changes = [(row.old, row.new) for row in rows if row.old is not None]
    while changes:
        taken = {value for old, _ in changes for value in identities(old)}
        free = [(old, new) for old, new in changes if not taken & (set(identities(new)) - set(identities(old)))]
        if free:
            changes = [change for change in changes if change not in free]
        else:
            # Two have changed places: one of them steps aside for a moment.
            old, new = changes.pop()
            aside = CreateUser(f"dbstorage:{token_hex(16)}", f"dbstorage:{token_hex(16)}")
            free = [(old, aside)]
            changes.append((aside, new))
        _update(connection, free)
    created = [row.new for row in rows if row.old is None]
    if created and insert_users(connection, created) != len(created):
        raise KeptAwayError("The row of a user was not written, and nothing refused it.")


def _update(connection: Connection, changes: Sequence[tuple[CreateUser, CreateUser]]) -> None:
    """Change rows, none of which takes what another of them has; the orders of whoever moves follow (ON UPDATE)."""
    columns = (
        [old.user_id for old, _ in changes],
        [old.email for old, _ in changes],
        [new.user_id for _, new in changes],
        [new.email for _, new in changes],
    )
    given = "unnest(%s::text[], %s::text[], %s::text[], %s::text[]) AS given(old_id, old_email, new_id, new_email)"
    moves = any(old.user_id != new.user_id for old, new in changes)
    with patience(connection, MOVE_SECONDS) if moves else nullcontext():
        changed = connection.exec_driver_sql(
            f'UPDATE "User" AS person SET "userID" = given.new_id, "email" = given.new_email FROM {given} '
            'WHERE person."userID" = given.old_id AND person."email" = given.old_email',
            columns,
        )
    if changed.rowcount == len(changes):
        return
    still_there = connection.exec_driver_sql(
        f'SELECT count(*) FROM "User" AS person, {given} '
        'WHERE person."userID" = given.old_id AND person."email" = given.old_email',
        columns,
    ).scalar_one()
    if still_there:
        raise KeptAwayError("The row of a user was not changed, and nothing refused it.")
    raise ConcurrentChangeError("Another program changed one of these users at the same moment.")


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
