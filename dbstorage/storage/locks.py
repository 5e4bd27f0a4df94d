"""Finds rows of "User" that other sessions have locked, and puts the commands of these users aside in their order."""

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

from sqlalchemy import Connection

from dbstorage.codes import USER_LOCKED, USER_QUEUED
from dbstorage.commands.orders import CloseOrder
from dbstorage.commands.users import CreateUser
from dbstorage.database.engine import APPLICATION
from dbstorage.database.lock_waits import SINCE, LockHolder
from dbstorage.storage.backoff import LOCK_PAUSES
from dbstorage.storage.outcome import Outcome, Status
from dbstorage.storage.service import Service
from dbstorage.storage.users import identities
from dbstorage.storage.work import Work, understand
from dbstorage.wire.entry import CREATE_CLOSE_ORDER, CREATE_USER, Layout
from dbstorage.wire.entry_id import position_of
from dbstorage.wire.payload import unpack

BEHIND = Outcome(
    Status.FAILED, USER_QUEUED, "It waits behind an earlier command of the same user, whose row is locked."
)

#: The table locks that a session has when it locks or changes rows.
_MODES = "('RowShareLock', 'RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')"
#: Parameters: userIDs of orders, userIDs and e-mail addresses of createUsers. Storing an order locks its user's key,
#: changing a user the row. The row's xmax says who holds the lock. Where several sessions hold it, the one is named
#: that has had a lock on the table for longest.
_LOCKED = f"""
WITH wanted AS (
    SELECT "userID", "email", xmax FROM "User" WHERE "userID" = ANY(%s) OR "userID" = ANY(%s) OR "email" = ANY(%s)
), key_free AS MATERIALIZED (
    SELECT "userID" FROM "User" WHERE "userID" = ANY(%s) FOR KEY SHARE SKIP LOCKED
), row_free AS MATERIALIZED (
    SELECT "userID" FROM "User" WHERE "userID" = ANY(%s) OR "email" = ANY(%s) FOR UPDATE SKIP LOCKED
)
SELECT wanted."userID", wanted."email", holder.pid, holder.application_name, holder.state, holder.since
FROM wanted LEFT JOIN LATERAL (
    SELECT activity.pid, activity.application_name, activity.state,
           {SINCE} AS since
    FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid)
    WHERE held.granted AND held.pid <> pg_backend_pid() AND held.relation = '"User"'::regclass AND held.mode IN {_MODES}
      AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ORDER BY EXISTS (
        SELECT FROM pg_locks AS own
        WHERE own.pid = held.pid AND own.locktype = 'transactionid' AND own.granted AND own.transactionid = wanted.xmax
    ) DESC, activity.xact_start LIMIT 1
) AS holder ON true
WHERE ("userID" = ANY(%s) AND "userID" NOT IN (SELECT "userID" FROM key_free))
   OR (("userID" = ANY(%s) OR "email" = ANY(%s)) AND "userID" NOT IN (SELECT "userID" FROM row_free))
"""

#: The sessions that have a lock of these modes on one of the tables which a command writes, the platform's or our own.
_HOLDERS = """
SELECT activity.pid, activity.application_name, activity.state,
       {since} AS since
FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid)
WHERE held.pid <> pg_backend_pid() AND held.mode IN {modes}
  AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND held.relation IN (
    SELECT oid FROM pg_class WHERE oid IN ('"User"'::regclass, '"Orders"'::regclass)
        OR relnamespace = to_regnamespace('dbstorage')
  )
ORDER BY {order} LIMIT 1
"""
#: Sessions that hold a lock on a whole table which keeps us from writing, or wait for one: we wait behind them.
_TABLE_HOLDERS = _HOLDERS.format(
    since=SINCE,
    modes="('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')",
    order="held.granted DESC, activity.xact_start",
)
#: Sessions that may hold a lock on a row: those of other programs first, the longest transaction first.
_ROW_HOLDERS = _HOLDERS.format(
    since=SINCE, modes=_MODES, order=f"activity.application_name = '{APPLICATION}', activity.xact_start"
)

#: Commands that met a locked row, and those of the given users that are queued behind one.
_WAITING = f"""
SELECT entry_id, user_id, function, layout, CASE WHEN function = '{CREATE_USER}' THEN payload END
FROM dbstorage.failed_tasks
WHERE stream = %s AND consumer_group = %s AND state = 'retrying' AND code = '{USER_LOCKED}'
UNION ALL
SELECT NULL, given, NULL, NULL, NULL FROM unnest(%s::text[]) AS given
WHERE EXISTS (
    SELECT FROM dbstorage.failed_tasks
    WHERE stream = %s AND consumer_group = %s AND user_id = given AND function = '{CREATE_CLOSE_ORDER}'
      AND state = 'retrying' AND code = '{USER_QUEUED}'
)
"""
#: One that is locked is being retried already.
_WAKE = f"""
UPDATE dbstorage.failed_tasks SET retry_at = now() WHERE id IN (
    SELECT id FROM dbstorage.failed_tasks
    WHERE stream = %s AND consumer_group = %s AND user_id = ANY(%s) AND function = '{CREATE_CLOSE_ORDER}'
      AND state = 'retrying' AND code = '{USER_QUEUED}' AND retry_at > now()
    FOR UPDATE SKIP LOCKED
)
"""


class LockedUser(NamedTuple):
    """A row of "User" that is locked, and who holds it."""

    user_id: str
    email: str
    holder: LockHolder

    @property
    def outcome(self) -> Outcome:
        """What becomes of a command that needs the row."""
        return Outcome(
            Status.FAILED,
            USER_LOCKED,
            f"The row of the user {self.user_id!r} is locked by {self.holder}; this user's commands wait, in their "
            "order, until that transaction ends (pg_terminate_backend ends it).",
        )


def find_locked(connection: Connection, works: Sequence[Work]) -> list[LockedUser]:
    """The users whose rows these works need and other sessions have locked."""
    orders = sorted({work.command.user_id for work in works if isinstance(work.command, CloseOrder)})
    creates = [work.command for work in works if isinstance(work.command, CreateUser)]
    ids, emails = sorted({each.user_id for each in creates}), sorted({each.email for each in creates})
    rows = connection.exec_driver_sql(_LOCKED, (orders, ids, emails) * 3)
    return [LockedUser(row[0], row[1], LockHolder(*row[2:])) for row in rows]


def find_table_holder(connection: Connection) -> LockHolder:
    """Who has locked one of the tables as a whole."""
    return _holder(connection, _TABLE_HOLDERS)


def find_row_holder(connection: Connection) -> LockHolder:
    """Who most likely holds the lock on a row of one of the tables; a session of ours only if there is no other."""
    return _holder(connection, _ROW_HOLDERS)


def _holder(connection: Connection, statement: str) -> LockHolder:
    row = connection.exec_driver_sql(statement).first()
    return LockHolder(*row) if row else LockHolder()


def name_lock(connection: Connection) -> str:
    """After a lock timeout, what is locked and by whom: a sentence without its full stop."""
    holder = find_table_holder(connection)
    if holder.process_id is not None:
        return f"A table is locked by {holder}"
    return f"A row is locked by {find_row_holder(connection)}"


def locked_by(holder: LockHolder) -> str:
    """Say that everything waits because of a lock on a table."""
    return f"A table is locked by {holder}; nothing can be stored until its transaction ends."


def locked_row(holder: LockHolder) -> Outcome:
    """What becomes of a command that meets a lock on a row other than its user's."""
    return Outcome(
        Status.FAILED,
        USER_LOCKED,
        f"A row that this command needs is locked by {holder}; this user's commands wait, in their order, until that "
        "transaction ends (pg_terminate_backend ends it).",
    )


class Queue:
    """The people whose commands have to wait, in their order, because an earlier one met a locked row."""

    def __init__(self) -> None:
        #: Identity -> the position of the first command that waits.
        self._first: dict[str, int] = {}
        #: People of whom a createUser is waiting; it may move them.
        self._moving: set[str] = set()
        self._locked: dict[str, LockedUser] = {}

    def __bool__(self) -> bool:
        """Whether anybody's commands have to wait."""
        return bool(self._first)

    def add(self, people: Set[str], position: int = -1, *, moving: bool = False) -> None:
        """Commands behind this position have to wait if they are about one of these people, who may be `moving`."""
        if moving:
            self._moving |= people
        for each in people:
            self._first[each] = min(self._first.get(each, _LAST), position)

    def lock(self, user: LockedUser) -> None:
        """All commands of this user have to wait."""
        people = {f"id:{user.user_id}", f"email:{user.email}"}
        self._locked |= dict.fromkeys(people, user)
        self.add(people)

    def outcome_of(self, work: Work) -> Outcome | None:
        """The outcome of a work that has to wait; None where it need not. Later works of its people wait, too."""
        if not self._first:
            return None
        people, position = people_of(work), _position(work)
        if not any(self._first.get(each, _LAST) < position for each in people):
            return None
        creates = isinstance(work.command, CreateUser)
        moves = not people.isdisjoint(self._moving)
        self.add(people, position, moving=creates)
        locked = [self._locked.pop(each) for each in people if each in self._locked]
        if locked:
            return locked[0].outcome
        # A createUser, and what follows it, is retried together with what stands before it: whose an order is depends
        # on all of them.
        return BEHIND._replace(code=USER_LOCKED) if creates or moves else BEHIND


#: Behind every entry: an operator's call has no place in the stream.
_LAST = 2**128


def _position(work: Work) -> int:
    return position_of(work.entry.id) if work.entry else _LAST


def people_of(work: Work) -> frozenset[str]:
    """Whom a work is about, by the keys under which users are remembered."""
    command = work.command
    if isinstance(command, CreateUser):
        return frozenset(identities(command))
    return frozenset({f"id:{command.user_id}"}) if isinstance(command, CloseOrder) else frozenset()


def read_queue(connection: Connection, service: Service, works: Sequence[Work]) -> Queue:
    """Who waits for a locked row at the moment, these works themselves left out.

    For failed tasks that are run again, those who are queued do not count: they are what is run, in their order.
    """
    ours = {work.entry.id for work in works if work.entry}
    first_attempts = [work.command for work in works if work.record is None]
    user_ids = sorted({command.user_id for command in first_attempts if isinstance(command, CloseOrder)})
    scope = (service.stream, service.group)
    queue = Queue()
    for entry_id, user_id, function, layout, payload in connection.exec_driver_sql(
        _WAITING, (*scope, user_ids, *scope)
    ):
        if entry_id is not None and entry_id in ours:
            continue
        people = {f"id:{user_id}"} if user_id else set()
        if function == CREATE_USER:
            people |= people_of(understand(unpack(Layout(layout), bytes(payload), entry_id or "0-0"), 1))
        queue.add(people, -1 if entry_id is None else position_of(entry_id), moving=function == CREATE_USER)
    return queue


def wake_queued(
    connection: Connection, service: Service, works: Sequence[Work], outcomes: Mapping[int, Outcome]
) -> None:
    """Make commands due at once that were queued behind a failed task which has now been run again."""
    done = [work for index, work in enumerate(works) if work.record and outcomes[index].code not in LOCK_PAUSES]
    user_ids = sorted(each.removeprefix("id:") for work in done for each in people_of(work) if each.startswith("id:"))
    if user_ids:
        connection.exec_driver_sql(_WAKE, (service.stream, service.group, user_ids))
