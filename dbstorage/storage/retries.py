"""Failed tasks that are tried again: taken from their records, locked, and what became of them noted there."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace
from sqlalchemy import Connection

from dbstorage.commands.decode import decode
from dbstorage.commands.orders import CloseOrder
from dbstorage.errors import RejectedEntry
from dbstorage.storage.service import Service
from dbstorage.storage.work import Record, Work, understand, understand_request
from dbstorage.wire.entry import Layout, StreamEntry
from dbstorage.wire.payload import pack, unpack

#: Attempts of a task that are kept.
KEPT_ATTEMPTS = 20

#: Bytes of payloads that are loaded at one time; a single larger one is loaded alone.
TAKEN_BYTES = 16 * 1024 * 1024

_COLUMNS = """id, life, xmin::text AS version, task_id, entry_id, layout, payload, whole_length, whole_sha256,
    user_id, belongs_to, attempts, extract(epoch FROM now() - first_failed_at)::double precision AS waited,
    code = 'user_not_found' AND belongs_to IS NULL AS waits_for_user"""
#: The place of a record's entry in the stream; calls, which have none, come last.
_STREAM_ORDER = "life, split_part(entry_id, '-', 1)::numeric NULLS LAST, split_part(entry_id, '-', 2)::numeric, id"

#: `size` is what has to be read of a task; the whole is read from the stream where the record has only the beginning.
TAKE_DUE = f"""
WITH due AS (
    SELECT id, retry_at, coalesce(whole_length, octet_length(payload)) AS size
    FROM dbstorage.failed_tasks
    WHERE stream = %s AND consumer_group = %s AND state = 'retrying' AND retry_at <= now() AND function = ANY(%s)
    ORDER BY retry_at, id LIMIT %s
), measured AS (
    SELECT id, sum(size) OVER (ORDER BY retry_at, id) - size AS before FROM due
)
SELECT {_COLUMNS} FROM dbstorage.failed_tasks
WHERE id IN (SELECT id FROM measured WHERE before < {TAKEN_BYTES}) ORDER BY retry_at, id
"""
#: A record gets the whole entry, which was too large when it failed.
COMPLETE = """
UPDATE dbstorage.failed_tasks SET task_id = %s, function = %s, layout = %s, payload = %s, whole_length = NULL,
    whole_sha256 = NULL, user_id = %s, order_id = %s
WHERE id = %s AND state = 'retrying' AND xmin::text = %s RETURNING xmin::text
"""
_WAITS = """stream = %s AND consumer_group = %s AND user_id = ANY(%s) AND function = 'createCloseOrder'
    AND code = 'user_not_found' AND belongs_to IS NULL AND state IN ('failed', 'retrying')"""
#: Orders that wait for one of these users, or gave up waiting; `before` are the bytes that stand in front of each.
TAKE_WAITING = f"""
WITH waiting AS (
    SELECT id, row_number() OVER stream_order AS place, octet_length(payload) AS size FROM dbstorage.failed_tasks
    WHERE {_WAITS} WINDOW stream_order AS (ORDER BY {_STREAM_ORDER}) ORDER BY {_STREAM_ORDER} LIMIT %s
), measured AS (
    SELECT id, sum(size) OVER (ORDER BY place) - size AS before FROM waiting
)
SELECT {_COLUMNS} FROM dbstorage.failed_tasks
WHERE {_WAITS} AND id IN (SELECT id FROM measured WHERE before < {TAKEN_BYTES}) ORDER BY {_STREAM_ORDER} FOR UPDATE
"""
#: What is left of those: theirs from now on, wherever the person moves, and due at once.
BIND_WAITING = """
UPDATE dbstorage.failed_tasks SET belongs_to = person.now, state = 'retrying', retry_at = now()
FROM unnest(%s::text[], %s::text[]) AS person(waited_for, now)
WHERE stream = %s AND consumer_group = %s AND user_id = person.waited_for AND function = 'createCloseOrder'
    AND code = 'user_not_found' AND belongs_to IS NULL AND state IN ('failed', 'retrying')
"""
#: Orders of a person that moves, if they failed while the person was there.
FOLLOW_MOVES = """
UPDATE dbstorage.failed_tasks AS task SET belongs_to = moved.new
FROM unnest(%s::text[], %s::text[]) AS moved(old, new)
WHERE stream = %s AND consumer_group = %s AND function = 'createCloseOrder' AND state IN ('failed', 'retrying')
    AND (belongs_to = moved.old OR (user_id = moved.old AND belongs_to IS NULL AND code <> 'user_not_found'))
"""
#: Those of the records that are nobody else's at this moment.
LOCK = """
SELECT id, xmin::text FROM dbstorage.failed_tasks
WHERE id = ANY(%s) AND state IN ('failed', 'retrying') FOR UPDATE SKIP LOCKED
"""
NOTE = f"""
WITH given AS (
    SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::double precision[])
        AS given(id, task_id, outcome, code, message, retry_after)
), noted AS (
    UPDATE dbstorage.failed_tasks AS task SET
        task_id = given.task_id, state = given.outcome, attempts = attempts + 1,
        code = coalesce(given.code, task.code), message = coalesce(given.message, task.message),
        last_failed_at = CASE WHEN given.code IS NULL THEN last_failed_at ELSE now() END,
        retry_at = now() + make_interval(secs => given.retry_after)
    FROM given WHERE task.id = given.id
    RETURNING task.id, task.attempts, stream, consumer_group, given.outcome, given.code, given.message
), forgotten AS (
    DELETE FROM dbstorage.attempts USING noted
    WHERE failed_task_id = noted.id AND number <= noted.attempts - {KEPT_ATTEMPTS}
)
INSERT INTO dbstorage.attempts (failed_task_id, number, stream, consumer_group, outcome, code, message)
SELECT * FROM noted
"""


class Noted(NamedTuple):
    """What becomes of a record; `outcome` is its new state, `retry_after` the seconds until its next attempt."""

    record_id: int
    task_id: str
    outcome: str
    code: str | None
    message: str | None
    retry_after: float | None


class Due(NamedTuple):
    """A task that is due, as its record has it. Its payload is not decoded yet: decoding may kill the process."""

    row: Any
    service: Service

    @property
    def record_id(self) -> int:
        """The id of its record."""
        return int(self.row.id)

    def understood(self, history_limit: int) -> Work:
        """Its payload decoded and validated."""
        return _work(self.row, self.service, history_limit)

    def not_understood(self) -> Work:
        """The task without its payload decoded, as a rejected entry."""
        entry = None if self.row.entry_id is None else StreamEntry(self.row.entry_id, [])
        record = _record(self.row, self.service)
        rejection = RejectedEntry("invalid_entry", "The payload of its record was not looked at.")
        return Work(entry, None, rejection, task_id=record.task_id, record=record)


def due(connection: Connection, service: Service, functions: Sequence[str], most: int) -> list[Due]:
    """The tasks of these functions whose next attempt is due, the longest due first; nothing is locked yet."""
    rows = connection.exec_driver_sql(TAKE_DUE, (service.stream, service.group, list(functions), most))
    return [Due(row, service) for row in rows]


def waiting_orders(
    connection: Connection, service: Service, user_ids: Collection[str], most: int, history_limit: int
) -> tuple[list[Work], bool]:
    """The first orders, in stream order, that wait for one of these userIDs; locked. Returns, too, whether that is all.

    Of large ones fewer are taken, so that they fit into the memory of a process.
    """
    waiting = (service.stream, service.group, list(user_ids))
    rows = connection.exec_driver_sql(TAKE_WAITING, (*waiting, most, *waiting)).all()
    is_all = len(rows) < most and sum(len(row.payload) for row in rows) < TAKEN_BYTES
    return [_work(row, service, history_limit) for row in rows], is_all


def bind_waiting_orders(connection: Connection, service: Service, people: Mapping[str, str]) -> None:
    """Let orders that wait for these userIDs belong for good to the people under the others, and be due."""
    parameters = (list(people), list(people.values()), service.stream, service.group)
    connection.exec_driver_sql(BIND_WAITING, parameters)


def follow_moves(connection: Connection, service: Service, moved: Mapping[str, str]) -> None:
    """Let failed orders follow the people who move, each from one userID to another, as stored ones do."""
    parameters = (list(moved), list(moved.values()), service.stream, service.group)
    connection.exec_driver_sql(FOLLOW_MOVES, parameters)


def complete(connection: Connection, work: Work) -> Work | None:
    """Give a record, which had the beginning of its entry, the whole; None where somebody changed the record."""
    assert work.entry is not None
    assert work.record is not None
    layout, payload = pack(work.entry)
    identity = work.identity
    found = (identity.task_id, identity.name, layout.value, payload, identity.user_id, identity.order_id)
    record = work.record
    version = connection.exec_driver_sql(COMPLETE, (*found, record.id, record.version)).scalar()
    if version is None:
        return None
    return replace(work, record=record._replace(version=version, task_id=identity.task_id))


def lock(connection: Connection, records: Sequence[Record]) -> set[int]:
    """The ids of those records that nobody has changed since they were taken; they are locked now."""
    as_now = {row[0]: row[1] for row in connection.exec_driver_sql(LOCK, ([record.id for record in records],))}
    return {record.id for record in records if as_now.get(record.id) == record.version}


def note(connection: Connection, noted: Sequence[Noted]) -> None:
    """Write what became of records, and one more attempt of each."""
    connection.exec_driver_sql(NOTE, tuple(list(column) for column in zip(*noted, strict=True)))


def _work(row: Any, service: Service, history_limit: int) -> Work:
    work = _understood(row, history_limit)
    if row.entry_id is None:
        work.task_id = row.task_id
    work.record = _record(row, service)
    if row.belongs_to is not None and isinstance(work.command, CloseOrder) and work.command.user_id == row.user_id:
        work.command = work.command._replace(user_id=row.belongs_to)
    return work


def _record(row: Any, service: Service) -> Record:
    earlier_life = row.life != service.life
    return Record(row.id, row.version, row.task_id, row.attempts, row.waited, earlier_life, row.waits_for_user)


def _understood(row: Any, history_limit: int) -> Work:
    try:
        entry = unpack(Layout(row.layout), bytes(row.payload), row.entry_id or "", row.whole_length, row.whole_sha256)
        if row.entry_id is not None:
            return understand(entry, history_limit)
        request = decode(StreamEntry("0-0", entry.fields))._replace(entry_id=None)
        return understand_request(request, history_limit)
    except ValueError as error:
        unreadable = RejectedEntry("invalid_entry", f"The payload of its record cannot be read: {error}.")
    except RejectedEntry as rejection:
        unreadable = rejection
    return Work(None if row.entry_id is None else StreamEntry(row.entry_id, []), None, unreadable)
