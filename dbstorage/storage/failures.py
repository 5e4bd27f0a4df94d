"""Records failures, one record for each entry."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson
from msgspec.structs import replace
from sqlalchemy import Connection

from dbstorage.codes import DATABASE_ERROR, ORDER_CONFLICT, USER_NOT_FOUND
from dbstorage.storage.backoff import next_attempt
from dbstorage.storage.outcome import Outcome, Retried, Status
from dbstorage.storage.retries import Noted, note
from dbstorage.storage.service import Service
from dbstorage.storage.work import Work
from dbstorage.wire.entry import Layout, Truncated
from dbstorage.wire.payload import pack
from dbstorage.wire.size import fitting
from dbstorage.wire.trace_context import carried

#: The state of a record whose task has succeeded.
RESOLVED = "resolved"
#: Bytes of payloads in one statement, where each is written as two characters.
STATEMENT_BYTES = 64 * 1024 * 1024


class Failed(NamedTuple):
    """A work that failed; `retry_after` are the seconds until its next attempt, None when there is none."""

    work: Work
    outcome: Outcome
    retry_after: float | None


def failure_of(work: Work, outcome: Outcome, user_wait: float) -> Failed:
    """The failure of an attempt, its status RETRYING where another attempt follows."""
    made, waited = (work.record.attempts + 1, work.record.waited) if work.record else (1, 0.0)
    retry_after = next_attempt(outcome.code, made, waited, user_wait)
    if outcome.code == DATABASE_ERROR and work.record is not None and work.record.waits_for_user:
        # It tells nothing about the user: the order stays one that waits, which a createUser looks for. At the end of
        # its time only an attempt that can tell ends the wait.
        message = f"Whether its user has come is open. {outcome.message}"
        outcome = outcome._replace(code=USER_NOT_FOUND, message=message)
        retry_after = next_attempt(USER_NOT_FOUND, made, waited, user_wait) or retry_after
    status = Status.FAILED if retry_after is None else Status.RETRYING
    return Failed(work, outcome._replace(status=status), retry_after)


def keep(
    connection: Connection,
    service: Service,
    decided: Sequence[tuple[Work, Outcome]],
    user_wait: float,
    *,
    plain: bool = False,
) -> list[Outcome]:
    """Write the records of these outcomes: new failures, and what became of tasks that failed before.

    A `plain` record holds nothing that a database could refuse. Returns the outcomes, their status RETRYING where
    another attempt follows.
    """
    outcomes: list[Outcome] = []
    failed: list[Failed] = []
    noted: list[Noted] = []
    for work, outcome in decided:
        retry_after = None
        if outcome.code is not None:
            failure = failure_of(work, outcome, user_wait)
            outcome, retry_after = failure.outcome, failure.retry_after
            if work.record is None:
                failed.append(failure)
        outcomes.append(outcome)
        if work.record is not None:
            state = outcome.status.value if outcome.code is not None else RESOLVED
            task_id = task_id_of(work, outcome)
            noted.append(Noted(work.record.id, task_id, state, outcome.code, outcome.message, retry_after))
    if failed:
        record(connection, service, failed, plain=plain)
    if noted:
        note(connection, [_plainly_noted(each) for each in noted] if plain else noted)
    return outcomes


def record(
    connection: Connection,
    service: Service,
    failed: Sequence[Failed],
    *,
    plain: bool = False,
    numbers: tuple[tuple[str, int], ...] = (),
) -> None:
    """Write a record for each failure; a `plain` one holds nothing that a database could refuse.

    An entry that is delivered again keeps the record it has: what retries and operators did to it counts. `numbers` are
    columns with a value that a record is given instead of their sequence's.
    """
    row = plain_row if plain else _row
    of_entries = [row(failure) for failure in failed if failure.work.entry is not None]
    for rows in _chunks(of_entries):
        connection.exec_driver_sql(
            recording("ON CONFLICT (stream, consumer_group, life, entry_id) DO NOTHING", numbers),
            (*service, *_columns(rows)),
        )
    of_calls = {called.task_id: called for called in (row(each) for each in failed if each.work.entry is None)}
    if of_calls:
        # A task called through the broker has no entry: its task id stands for it.
        connection.exec_driver_sql(
            recording(
                "ON CONFLICT (stream, consumer_group, task_id) WHERE entry_id IS NULL DO UPDATE SET "
                "payload = excluded.payload, code = excluded.code, message = excluded.message, state = excluded.state, "
                "retry_at = excluded.retry_at, attempts = failed_tasks.attempts + 1, last_failed_at = now()"
            ),
            (*service, *_columns(list(of_calls.values()))),
        )


class _Row(NamedTuple):
    task_id: str
    function: str
    entry_id: str | None
    layout: str
    payload: bytes
    whole_length: int | None
    whole_sha256: str | None
    user_id: str | None
    order_id: str | None
    code: str | None
    message: str | None
    retry_after: float | None


#: Of a plain record: the most characters of an id and of the message, and the most bytes of the payload.
PLAIN_ID, PLAIN_MESSAGE, PLAIN_PAYLOAD = 512, 1000, 2**20


def recording(on_conflict: str, numbers: tuple[tuple[str, int], ...] = ()) -> str:
    """One statement for any number of records and their first attempts; parameters: Service, columns of _Row."""
    names, values = "".join(f"{name}, " for name, _ in numbers), "".join(f"{number}, " for _, number in numbers)
    record = RECORD.format(names=names, values=values)
    return f"""
        WITH recorded AS ({record} {on_conflict}
            RETURNING id, attempts, stream, consumer_group, last_failed_at, state, code, message)
        INSERT INTO dbstorage.attempts (failed_task_id, number, stream, consumer_group, at, outcome, code, message)
        SELECT * FROM recorded
        """


RECORD = """
INSERT INTO dbstorage.failed_tasks ({names}stream, consumer_group, life,
    task_id, function, entry_id, layout, payload, whole_length, whole_sha256, user_id, order_id, code, message,
    state, retry_at)
SELECT {values}%s, %s, %s, task_id, function, entry_id, layout, payload, whole_length, whole_sha256, user_id,
    order_id, code, message,
    CASE WHEN retry_after IS NULL THEN 'failed' ELSE 'retrying' END, now() + make_interval(secs => retry_after)
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bytea[], %s::bigint[], %s::text[], %s::text[],
    %s::text[], %s::text[], %s::text[], %s::double precision[])
    AS given(task_id, function, entry_id, layout, payload, whole_length, whole_sha256, user_id, order_id, code,
        message, retry_after)
"""


def _chunks(rows: Sequence[_Row]) -> Iterator[list[_Row]]:
    """Rows that one statement takes: PostgreSQL gives up the connection where one is longer than a gigabyte."""
    chunk: list[_Row] = []
    size = 0
    for row in rows:
        size += len(row.payload)
        if chunk and size > STATEMENT_BYTES:
            yield chunk
            chunk, size = [], len(row.payload)
        chunk.append(row)
    if chunk:
        yield chunk


def _columns(rows: Sequence[_Row]) -> tuple[list[Any], ...]:
    return tuple(list(column) for column in zip(*rows, strict=True))


def _row(failure: Failed) -> _Row:
    work, outcome, retry_after = failure
    identity = work.identity
    whole_length = whole_sha256 = None
    if work.entry is not None and isinstance(work.entry.fields, Truncated):
        whole_length, whole_sha256 = work.entry.fields.length, work.entry.fields.sha256
    if work.entry is not None:
        layout, payload = pack(work.entry)
    else:
        # As the envelope of the same command.
        layout, payload = Layout.ENVELOPE, orjson.dumps(work.request.body if work.request else {})
    return _Row(
        task_id_of(work, outcome),
        identity.name,
        work.entry.id if work.entry else None,
        layout.value,
        payload,
        whole_length,
        whole_sha256,
        identity.user_id,
        identity.order_id,
        outcome.code,
        outcome.message,
        retry_after,
    )


def plain_row(failure: Failed) -> _Row:
    """A record in ASCII, short: for a database whose encoding lacks a character, or that has no room for the whole."""
    entry = failure.work.entry
    if entry is not None:
        short = entry._replace(fields=fitting(entry.fields, PLAIN_PAYLOAD))
        failure = failure._replace(work=replace(failure.work, entry=short))
    row = _row(failure)
    return row._replace(
        task_id=_ascii(row.task_id, PLAIN_ID),
        user_id=row.user_id and _ascii(row.user_id, PLAIN_ID),
        order_id=row.order_id and _ascii(row.order_id, PLAIN_ID),
        message=_ascii(row.message or "", PLAIN_MESSAGE),
        payload=row.payload[:PLAIN_PAYLOAD],
    )


def _plainly_noted(noted: Noted) -> Noted:
    message = _ascii(noted.message or "", PLAIN_MESSAGE) or None
    return noted._replace(task_id=_ascii(noted.task_id, PLAIN_ID), message=message)


def _ascii(text: str, longest: int) -> str:
    return text.encode("ascii", "backslashreplace").decode()[:longest]


def task_id_of(work: Work, outcome: Outcome) -> str:
    """The task's id, the same in its record, in the log and in Flower."""
    if work.task_id is not None:
        return work.task_id
    task_id = work.record.task_id if work.record is not None else work.identity.task_id
    return told_id(task_id, work.entry.id if work.entry else None, outcome)


def retried(work: Work, outcome: Outcome) -> Retried:
    """What a report says of a failed task that was run again, with this outcome."""
    assert work.record is not None
    identity = work.identity
    entry_id = work.entry.id if work.entry else None
    return Retried(
        identity.name,
        task_id_of(work, outcome),
        identity.summary,
        entry_id,
        work.record.attempts + 1,
        outcome,
        carried(work.request.body) if work.request is not None else {},
    )


def told_id(task_id: str, entry_id: str | None, outcome: Outcome) -> str:
    """The task id to publish for this outcome. That of an order_conflict gets the entry id appended, once.

    So it differs from the id of the order that is stored.
    """
    if outcome.code != ORDER_CONFLICT or entry_id is None or task_id.endswith(f":{entry_id}"):
        return task_id
    return f"{task_id}:{entry_id}"
