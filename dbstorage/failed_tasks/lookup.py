"""Looks failed tasks up for operators: lists, pages, counts, one with its payload. Changes nothing."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, and_, func, or_, select

from dbstorage.codes import USER_LOCKED
from dbstorage.database.tables import attempts, failed_tasks
from dbstorage.failed_tasks.filters import Filter, State
from dbstorage.settings import Scope
from dbstorage.storage.locks import BEHIND
from dbstorage.wire.entry import Layout

#: Rows that are read in one go.
CHUNK = 5_000
#: How many users whose rows are locked are named.
MOST_LOCKED = 5


class FailedTask(NamedTuple):
    """A record without its payload."""

    id: int
    task_id: str
    function: str | None
    entry_id: str | None
    user_id: str | None
    order_id: str | None
    code: str
    message: str
    attempts: int
    first_failed_at: datetime
    last_failed_at: datetime
    state: State
    #: When the next attempt is due, only while it is retrying.
    retry_at: datetime | None


class Payload(NamedTuple):
    """The bytes as they came (see dbstorage.wire.payload).

    Of an entry that was too large they are the beginning, and `whole_length` and `whole_sha256` tell of the whole.
    """

    layout: Layout
    content: bytes
    whole_length: int | None = None
    whole_sha256: str | None = None
    #: The bytes as they came, where an operator has mended them.
    original: bytes | None = None

    @property
    def as_it_came(self) -> "Payload":
        """The payload before anybody mended it."""
        return self if self.original is None else Payload(self.layout, self.original)


class SortColumn(StrEnum):
    """The columns that a list can be sorted by."""

    ID = "id"
    FUNCTION = "function"
    USER = "user_id"
    ORDER = "order_id"
    CODE = "code"
    ATTEMPTS = "attempts"
    FIRST_FAILED = "first_failed_at"
    LAST_FAILED = "last_failed_at"
    STATE = "state"


class Sorting(NamedTuple):
    """How a list is sorted; ties by id, in the same direction."""

    column: SortColumn = SortColumn.LAST_FAILED
    descending: bool = True


NEWEST_FIRST = Sorting()


_COLUMNS = [failed_tasks.c[name] for name in FailedTask._fields]


def find(
    connection: Connection,
    scope: Scope,
    which: Filter,
    sorting: Sorting = NEWEST_FIRST,
    limit: int = 50,
    offset: int = 0,
) -> list[FailedTask]:
    """A page of the tasks that match."""
    key = failed_tasks.c.id
    order = [_ordered(column, sorting.descending) for column in (failed_tasks.c[sorting.column.value], key)]
    # OFFSET reads every row that it skips, so it goes over ids alone and not over sentences.
    page = (
        select(key).where(*of_scope(scope), *which.conditions()).order_by(*order).limit(limit).offset(offset).subquery()
    )
    statement = select(*_COLUMNS).join(page, page.c.id == key).order_by(*order)
    return [_task(row) for row in connection.execute(statement)]


def find_all(connection: Connection, scope: Scope, which: Filter) -> Iterator[FailedTask]:
    """All tasks that match, last failed first, without holding them all in memory."""
    table = failed_tasks.c
    last: FailedTask | None = None
    while True:
        statement = select(*_COLUMNS).where(*of_scope(scope), *which.conditions())
        if last is not None:
            same_moment = and_(table.last_failed_at == last.last_failed_at, table.id < last.id)
            statement = statement.where(or_(table.last_failed_at < last.last_failed_at, same_moment))
        statement = statement.order_by(table.last_failed_at.desc(), table.id.desc()).limit(CHUNK)
        rows = connection.execute(statement).all()
        connection.rollback()  # the reader may be slow, and the server ends transactions that idle
        for row in rows:
            last = _task(row)
            yield last
        if len(rows) < CHUNK:
            return


def load(connection: Connection, scope: Scope, failed_task_id: int) -> tuple[FailedTask, Payload] | None:
    """One task with its payload, None where there is no such id."""
    table = failed_tasks.c
    kept = (table.layout, table.payload, table.whole_length, table.whole_sha256, table.original_payload)
    statement = select(*_COLUMNS, *kept)
    row = connection.execute(statement.where(*of_scope(scope), failed_tasks.c.id == failed_task_id)).one_or_none()
    if row is None:
        return None
    original = None if row.original_payload is None else bytes(row.original_payload)
    payload = Payload(Layout(row.layout), bytes(row.payload), row.whole_length, row.whole_sha256, original)
    return _task(row[: len(_COLUMNS)]), payload


def count(connection: Connection, scope: Scope, which: Filter) -> int:
    """How many tasks match."""
    return (
        connection.scalar(select(func.count()).select_from(failed_tasks).where(*of_scope(scope), *which.conditions()))
        or 0
    )


def newest_id(connection: Connection, scope: Scope) -> int:
    """The largest id of all tasks, 0 where there is none: what fails later has a larger one."""
    return connection.scalar(select(func.max(failed_tasks.c.id)).where(*of_scope(scope))) or 0


class Attempt(NamedTuple):
    """One of the last attempts of a task; without a code it succeeded."""

    number: int
    at: datetime
    outcome: str
    code: str | None
    message: str | None


def attempts_of(connection: Connection, failed_task_id: int) -> list[Attempt]:
    """The attempts that are kept, the oldest first."""
    columns = [attempts.c[name] for name in Attempt._fields]
    statement = select(*columns).where(attempts.c.failed_task_id == failed_task_id).order_by(attempts.c.number)
    return [Attempt(*row) for row in connection.execute(statement)]


def codes(connection: Connection, scope: Scope) -> list[str]:
    """The codes of all failed tasks, whatever their state."""
    return list(connection.scalars(select(failed_tasks.c.code).where(*of_scope(scope)).distinct().order_by("code")))


def count_by_code(connection: Connection, scope: Scope) -> dict[str, dict[State, int]]:
    """The number of tasks by code and state; codes in alphabetical order."""
    columns = (failed_tasks.c.code, failed_tasks.c.state)
    statement = select(*columns, func.count()).where(*of_scope(scope)).group_by(*columns)
    counts: dict[str, dict[State, int]] = {}
    for row in sorted(connection.execute(statement).all()):
        code, state, number = row
        counts.setdefault(code, {})[State(state)] = number
    return counts


def read_locked(connection: Connection, scope: Scope) -> list[str]:
    """The sentences on users whose rows other sessions have locked, while commands of theirs wait."""
    table = failed_tasks.c
    statement = (
        select(table.message)
        .distinct()
        .where(table.stream == scope.stream, table.consumer_group == scope.group)
        .where(table.state == State.RETRYING.value, table.code == USER_LOCKED, table.message != BEHIND.message)
        .order_by(table.message)
        .limit(MOST_LOCKED)
    )
    return list(connection.scalars(statement))


def _ordered(column: Column[Any], descending: bool) -> ColumnElement[Any]:
    ordered = column.desc() if descending else column.asc()
    # NULLS LAST only for columns that may be NULL: the index on last_failed_at is made without it.
    return ordered.nulls_last() if column.nullable else ordered


def of_scope(scope: Scope) -> tuple[ColumnElement[bool], ...]:
    """SQL for the tasks of this service."""
    return failed_tasks.c.stream == scope.stream, failed_tasks.c.consumer_group == scope.group


def _task(row: Sequence[Any]) -> FailedTask:
    task = FailedTask(*row)
    return task._replace(state=State(task.state))
