"""Changes failed tasks for operators: retry, discard, restore, cancel and purge.

A retry only changes the row: the worker's sweep runs the task. So nothing here needs the broker, and two operators who
retry the same task at once cause one run.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, func, select, update
from sqlalchemy.exc import DBAPIError

from dbstorage.database.sqlstate import ErrorClass, classify
from dbstorage.database.tables import failed_tasks
from dbstorage.failed_tasks.filters import OPEN_STATES, Filter, State
from dbstorage.failed_tasks.lookup import of_scope
from dbstorage.failed_tasks.trail import PartsRecord
from dbstorage.settings import Scope

#: Rows that are changed in one go; a change commits after each so that nobody waits long for its locks.
CHUNK = 5_000
PURGE = "purge"
#: Attempts to change a chunk that met a deadlock each time.
DEADLOCKS = 5

#: Called with the ids of the tasks that were changed.
Progress = Callable[[Sequence[int]], None]


class Change(StrEnum):
    """What an operator does with failed tasks."""

    RETRY = "retry"
    DISCARD = "discard"
    #: Undoes a discard.
    RESTORE = "restore"
    #: Undoes a retry that has not run yet.
    CANCEL = "cancel"

    @property
    def from_states(self) -> tuple[State, ...]:
        """The states in which it can be done."""
        return _FROM_STATES[self]

    @property
    def done(self) -> str:
        """The word for what was done, such as `retried`."""
        return _DONE[self]


_FROM_STATES = {
    Change.RETRY: (State.FAILED,),
    Change.DISCARD: OPEN_STATES,
    Change.RESTORE: (State.DISCARDED,),
    Change.CANCEL: (State.RETRYING,),
}
_DONE = {
    Change.RETRY: "retried",
    Change.DISCARD: "discarded",
    Change.RESTORE: "restored",
    Change.CANCEL: "cancelled",
}


class Matched(NamedTuple):
    """How many tasks match, and the largest id among them (0 where none does)."""

    number: int
    up_to: int


def count_for(connection: Connection, scope: Scope, which: Filter, change: Change) -> Matched:
    """How many of the tasks that match the change would meet; operators are asked whether they mean so many."""
    statement = select(func.count(), func.coalesce(func.max(failed_tasks.c.id), 0))
    number, up_to = connection.execute(statement.where(*of_scope(scope), *which.conditions(), _can(change))).one()
    return Matched(number, up_to)


def count_codes(connection: Connection, scope: Scope, which: Filter, change: Change) -> dict[str, int]:
    """Code -> how many of the tasks that a change would meet have it; the most frequent first."""
    number = func.count()
    conditions = (*of_scope(scope), *which.conditions(), _can(change))
    statement = select(failed_tasks.c.code, number).where(*conditions).group_by("code")
    return {code: tasks for code, tasks in connection.execute(statement.order_by(number.desc(), failed_tasks.c.code))}


def apply(
    connection: Connection,
    scope: Scope,
    which: Filter,
    change: Change,
    *,
    who: str,
    reason: str | None = None,
    described: Mapping[str, Any] | None = None,
    progress: Progress = lambda ids: None,
) -> int:
    """Retry, discard, restore or cancel the tasks that match; returns how many there were. Commits.

    `Change.from_states` says which states a change applies to. `progress` is called after each part with the ids that
    were changed in it. Each part is recorded in its transaction, and the end of the operation, also where an error ends
    it. `described` stands in that record in the place of the filter, where the filter is too long.
    """
    changed, after = 0, -1
    told = which.described() if described is None else described
    trail = PartsRecord(scope, change.value, who, filter=told, reason=reason)
    with trail.ended_by_errors(connection):
        while True:
            ids = _change_chunk(connection, scope, which, change, after, trail)
            changed += len(ids)
            trail.ended = len(ids) < CHUNK
            if not trail.ended:
                trail.committed(len(ids))
            progress(ids)
            if trail.ended:
                return changed
            after = max(ids)


def delete_old(connection: Connection, scope: Scope, which: Filter, *, who: str) -> int:
    """Delete the resolved and discarded records that match, in parts; returns how many there were. Commits."""
    closed = failed_tasks.c.state.in_([State.RESOLVED.value, State.DISCARDED.value])
    deleted = 0
    trail = PartsRecord(scope, PURGE, who, filter=which.described())
    while True:
        key = failed_tasks.c.id
        chosen = select(key).where(*of_scope(scope), *which.conditions(), closed).order_by(key).limit(CHUNK)
        number = connection.execute(delete(failed_tasks).where(key.in_(chosen))).rowcount
        deleted += number
        if number < CHUNK:
            trail.end(connection, number)
            connection.commit()
            return deleted
        trail.part(connection, number)
        connection.commit()
        trail.committed(number)


def _change_chunk(
    connection: Connection, scope: Scope, which: Filter, change: Change, after: int, trail: PartsRecord
) -> Sequence[int]:
    """Change the first tasks behind the id `after`, record that, commit, and return their ids."""
    possible: dict[Change, dict[str, Any]] = {
        Change.RETRY: {"state": State.RETRYING.value, "retry_at": func.now()},
        Change.DISCARD: {"state": State.DISCARDED.value, "retry_at": None},
        Change.RESTORE: {"state": State.FAILED.value},
        Change.CANCEL: {"state": State.FAILED.value, "retry_at": None},
    }
    values = possible[change]
    key = failed_tasks.c.id
    # Locked in one order, so that two operators never wait for each other; a task that somebody else changed while we
    # waited for its lock is looked at again and left out.
    taken = (
        select(key).where(*of_scope(scope), *which.conditions(), _can(change), key > after).order_by(key).limit(CHUNK)
    )
    statement = update(failed_tasks).where(key.in_(taken.with_for_update())).values(values).returning(key)
    for attempt in range(1, DEADLOCKS + 1):
        try:
            ids = connection.scalars(statement).all()
            if len(ids) < CHUNK:
                trail.end(connection, len(ids))
            else:
                trail.part(connection, len(ids))
            connection.commit()
            return ids
        except DBAPIError as error:
            # A worker that makes a user's waiting orders due locks them in another order: a deadlock is possible.
            if attempt == DEADLOCKS or classify(error) is not ErrorClass.AGAIN:
                raise
            connection.rollback()
    raise AssertionError("every attempt ends in ids or an error")


def _can(change: Change) -> ColumnElement[bool]:
    return failed_tasks.c.state.in_([state.value for state in change.from_states])
