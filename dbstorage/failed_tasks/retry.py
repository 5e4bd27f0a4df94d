"""Running a failed task again, from its record: the same task, with the bytes as they came."""

from typing import Any

from sqlalchemy import Connection, func, select, update

from dbstorage.database.tables import failed_tasks
from dbstorage.failed_tasks.filters import State
from dbstorage.storage.alone import ALLOWED_DEATHS, POISON, begin_alone, end_alone
from dbstorage.storage.failures import next_attempt
from dbstorage.storage.outcome import Outcome, Status
from dbstorage.storage.resources import Resources
from dbstorage.storage.transaction import Refused, in_transaction
from dbstorage.storage.work import Work, understand, understand_request
from dbstorage.storage.writes import write
from dbstorage.wire.entry import Layout, StreamEntry, decode
from dbstorage.wire.payload import unpack

NOTHING_TO_DO = Outcome(Status.UNCHANGED, None, "nothing to do: it was resolved or discarded meanwhile")


def run_retry(resources: Resources, failed_task_id: int) -> Outcome:
    """Run the task of a record in state `retrying` and note in the record what became of it.

    Two runs of the same record at once come to one: the second finds it resolved. Raises DatabaseUnavailableError and
    RedisUnavailableError, after which the sweep sends the task again.
    """
    name = f"failed-task:{failed_task_id}"
    allowed = begin_alone(resources.redis, resources.settings, name)
    try:
        if not allowed:
            message = f"The process that ran this task died {ALLOWED_DEATHS} times. Look for what kills it."
            return _note_refusal(resources, failed_task_id, Outcome(Status.FAILED, POISON, message))
        try:
            return in_transaction(resources, lambda connection: _run(resources, connection, failed_task_id))
        except Refused as refused:
            return _note_refusal(resources, failed_task_id, refused.outcome)
    finally:
        end_alone(resources.redis, resources.settings, name)


def _run(resources: Resources, connection: Connection, failed_task_id: int) -> Outcome:
    row = _locked(connection, failed_task_id)
    if row is None:
        return NOTHING_TO_DO
    work = _work_of(row, resources.settings.history_limit)
    [outcome] = write(connection, resources.shape(connection), resources.service(connection), [work], retry=True)
    return _note(resources, connection, row, outcome)


def _note_refusal(resources: Resources, failed_task_id: int, outcome: Outcome) -> Outcome:
    def note(connection: Connection) -> Outcome:
        row = _locked(connection, failed_task_id)
        return NOTHING_TO_DO if row is None else _note(resources, connection, row, outcome)

    return in_transaction(resources, note)


def _locked(connection: Connection, failed_task_id: int) -> Any:
    """The record with the seconds since its first failure, locked; None when it is not to be retried (any more)."""
    columns = (failed_tasks, func.extract("epoch", func.now() - failed_tasks.c.first_failed_at).label("waited"))
    statement = select(*columns).where(
        failed_tasks.c.id == failed_task_id, failed_tasks.c.state == State.RETRYING.value
    )
    return connection.execute(statement.with_for_update()).one_or_none()


def _work_of(row: Any, history_limit: int) -> Work:
    entry = unpack(Layout(row.layout), bytes(row.payload), row.entry_id or "")
    if row.entry_id is not None:
        return understand(entry, history_limit)
    request = decode(StreamEntry("0-0", entry.fields))._replace(entry_id=None)
    return understand_request(request, history_limit)


def _note(resources: Resources, connection: Connection, row: Any, outcome: Outcome) -> Outcome:
    if outcome.code is None:
        connection.execute(
            update(failed_tasks).where(failed_tasks.c.id == row.id).values(state=State.RESOLVED.value, retry_at=None)
        )
        return outcome
    retry_after = next_attempt(outcome.code, row.attempts + 1, float(row.waited), resources.settings.user_wait)
    connection.execute(
        update(failed_tasks)
        .where(failed_tasks.c.id == row.id)
        .values(
            code=outcome.code,
            message=outcome.message,
            attempts=failed_tasks.c.attempts + 1,
            last_failed_at=func.now(),
            state=(State.FAILED if retry_after is None else State.RETRYING).value,
            retry_at=None if retry_after is None else func.now() + func.make_interval(0, 0, 0, 0, 0, 0, retry_after),
        )
    )
    return outcome._replace(status=Status.FAILED if retry_after is None else Status.RETRYING)
