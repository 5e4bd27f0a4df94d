"""Failed tasks: which failures are tried again by themselves, and their records, one for each entry id (SPEC 3)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, func
from sqlalchemy.dialects.postgresql import insert

from dbstorage.database.tables import failed_tasks
from dbstorage.storage.outcome import Outcome, Status
from dbstorage.storage.work import Work
from dbstorage.wire.entry import Layout
from dbstorage.wire.payload import pack

USER_NOT_FOUND = "user_not_found"
DATABASE_ERROR = "database_error"
ORDER_CONFLICT = "order_conflict"

#: Seconds until the next attempt, by the number of attempts made; the last one repeats.
USER_PAUSES = (1.0, 2.0, 4.0, 8.0)
#: Seconds until the next attempt after an error that is neither the entry's fault nor an outage.
ERROR_PAUSES = (1.0, 4.0, 15.0)


class Failed(NamedTuple):
    """A work that failed; `retry_after` are the seconds until its next attempt, None when there is none."""

    work: Work
    outcome: Outcome
    retry_after: float | None


def next_attempt(code: str | None, attempts: int, waited: float, user_wait: float) -> float | None:
    """Seconds until a failed task is tried again by itself, None when it is left to the operators.

    `attempts` were made so far, the first one `waited` seconds ago. An order waits for its user until `user_wait` is
    over; the last attempt falls on its end.
    """
    if code == USER_NOT_FOUND and waited < user_wait:
        return min(USER_PAUSES[min(attempts, len(USER_PAUSES)) - 1], user_wait - waited)
    if code == DATABASE_ERROR and attempts <= len(ERROR_PAUSES):
        return ERROR_PAUSES[attempts - 1]
    return None


def first_failure(work: Work, outcome: Outcome, user_wait: float) -> Failed:
    """The failure of a first attempt, its status RETRYING where another attempt follows."""
    retry_after = next_attempt(outcome.code, 1, 0.0, user_wait)
    status = Status.FAILED if retry_after is None else Status.RETRYING
    return Failed(work, outcome._replace(status=status), retry_after)


def record(connection: Connection, failed: Sequence[Failed]) -> None:
    """Write a record for each failure.

    An entry that is delivered again keeps the record it has: what retries and operators did to it counts.
    """
    of_entries = [_row(failure) for failure in failed if failure.work.entry is not None]
    if of_entries:
        connection.execute(insert(failed_tasks).on_conflict_do_nothing(index_elements=["entry_id"]), of_entries)
    for failure in failed:
        if failure.work.entry is None:
            _record_call(connection, _row(failure))


def _record_call(connection: Connection, row: dict[str, Any]) -> None:
    """A task called through the broker has no entry: its task id stands for it."""
    new = insert(failed_tasks).values(row)
    connection.execute(
        new.on_conflict_do_update(
            index_elements=["task_id"],
            index_where=failed_tasks.c.entry_id.is_(None),
            set_={
                **{name: new.excluded[name] for name in ("payload", "code", "message", "state", "retry_at")},
                "attempts": failed_tasks.c.attempts + 1,
                "last_failed_at": func.now(),
            },
        )
    )


def _row(failure: Failed) -> dict[str, Any]:
    work, outcome, retry_after = failure
    identity = work.identity
    if work.entry is not None:
        layout, payload = pack(work.entry)
    else:
        # As the envelope that would have said the same.
        layout, payload = Layout.ENVELOPE, orjson.dumps(work.request.body if work.request else {})
    return {
        "task_id": task_id_of(work, outcome),
        "function": identity.name,
        "entry_id": work.entry.id if work.entry else None,
        "layout": layout.value,
        "payload": payload,
        "user_id": identity.user_id,
        "order_id": identity.order_id,
        "code": outcome.code,
        "message": outcome.message,
        "state": "failed" if retry_after is None else "retrying",
        "retry_at": None if retry_after is None else due_in(retry_after),
    }


def due_in(seconds: float) -> Any:
    """SQL for a moment from now, by the database's clock."""
    return func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def task_id_of(work: Work, outcome: Outcome) -> str:
    """The task's id; a conflict's holds the entry id too, so that Flower shows it beside the stored order's."""
    task_id = work.identity.task_id
    if outcome.code == ORDER_CONFLICT and work.entry is not None:
        return f"{task_id}:{work.entry.id}"
    return task_id
