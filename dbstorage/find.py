"""Where something is: an order, a user, an entry or a request, in the stream and in the database. Changes nothing."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from redis.exceptions import ResponseError
from sqlalchemy import Connection, text

from dbstorage.audit.outcomes import AuditOutcome, entry_id_of, find_outcome
from dbstorage.audit.rows import AuditedRows
from dbstorage.audit.stream import FROM_BEGINNING, TO_END, CommandStream
from dbstorage.commands.orders import CloseOrder
from dbstorage.commands.questions import HistoryQuestion
from dbstorage.commands.registry import KINDS
from dbstorage.errors import DatabaseNotReadyError, DatabaseUnavailableError, RedisUnavailableError
from dbstorage.failed_tasks.connected import connected
from dbstorage.failed_tasks.filters import Filter
from dbstorage.failed_tasks.lookup import Attempt, FailedTask, attempts_of
from dbstorage.failed_tasks.lookup import find as find_failed
from dbstorage.redis_access.explained import redis_errors_explained
from dbstorage.settings import Settings
from dbstorage.storage.work import Work, understand
from dbstorage.wire.entry import StreamEntry, Truncated
from dbstorage.wire.entry_id import position_of

#: Entries, and failed tasks, that are told of.
MOST_ENTRIES = 200
MOST_FAILED = 50
NAMES_OF_FAILED = ("user_id", "entry_id", "task_id")

UNREAD, IN_HAND, DONE, UNKNOWN = "unread", "in hand", "answered or expired", "unknown"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class FoundEntry:
    """An entry of the stream; `state` is unread, in hand, or what became of it."""

    entry_id: str
    function: str
    task_id: str
    state: str
    #: Who has it in hand, for how long, and how often it was delivered; or why it failed.
    detail: str | None = None


@dataclass(frozen=True, kw_only=True)
class FoundFailed:
    """A failed task with its attempts."""

    task: FailedTask
    attempts: list[Attempt]


@dataclass(kw_only=True)
class Found:
    """Everything that was found; None is what could not be asked."""

    what: str
    #: Each in a few words, the most telling one first: `stored`, `failed (invalid_symbol)`, `never seen`.
    states: list[str] = field(default_factory=list)
    entries: list[FoundEntry] | None = None
    more_entries: bool = False
    #: The row of the order with this id, and of the user with this userID or address.
    order: dict[str, Any] | None = None
    user: dict[str, Any] | None = None
    failed: list[FoundFailed] | None = None
    #: Whether there are more failed tasks than these.
    more_failed: bool = False
    #: Entries that the stream no longer holds may have been trimmed: the oldest that it holds.
    oldest_entry: str | None = None
    #: Why a server could not be asked.
    problems: list[str] = field(default_factory=list)


def find(settings: Settings, what: str, progress: Progress = lambda done, length: None) -> Found:
    """Look for it. What cannot be asked is told in `problems`; nothing is raised."""
    found = Found(what=what)
    works: list[Work] = []
    try:
        with closing(CommandStream(settings)) as stream:
            works = _look_through(stream, settings, what, found, progress)
            places = _places(stream, [entry_id_of(work) for work in works])
    except RedisUnavailableError as error:
        found.problems.append(str(error))
        places = {}
    outcomes: dict[str, tuple[str, str | None]] = {}
    try:
        with closing(AuditedRows(settings)) as rows:
            if works:
                outcomes = _outcomes(rows, works, places)
            with connected(rows.engine) as connection:
                found.order, found.user = _order(connection, _order_id(what, works)), _user(connection, what)
                found.failed = list(_failed(connection, settings, what, found))
    except (DatabaseUnavailableError, DatabaseNotReadyError) as error:
        found.problems.append(str(error))
    if found.entries is not None:
        found.entries = [
            FoundEntry(
                entry_id=entry_id,
                function=work.function,
                task_id=work.identity.task_id,
                state=state,
                detail=detail,
            )
            for work in works
            for entry_id in [entry_id_of(work)]
            for state, detail in [places.get(entry_id) or outcomes.get(entry_id) or (UNKNOWN, None)]
        ]
    found.states = list(dict.fromkeys(_states(found)))
    return found


def _look_through(stream: CommandStream, settings: Settings, what: str, found: Found, progress: Progress) -> list[Work]:
    """The entries that it is about, oldest first; the newest where there are very many."""
    first, last = (what, what) if _is_entry_id(what) else (FROM_BEGINNING, TO_END)
    wanted = stream.range(first, last)
    # As an entry may spell it: as it is, or within JSON in ASCII; of a task id what stands behind the function.
    names = _names(what)
    spellings = {
        spelling for name in names for spelling in (name.encode(errors="replace"), json.dumps(name)[1:-1].encode())
    }
    works: list[Work] = []
    looked_at = 0
    for entries in stream.chunks(wanted):
        for entry in entries:
            if entry.id not in names and not _may_be(entry, spellings):
                continue
            work = understand(entry, settings.history_limit)
            if _is_about(work, what):
                works.append(work)
        if len(works) > MOST_ENTRIES:
            found.more_entries = True
            works = works[-MOST_ENTRIES:]
        looked_at += len(entries)
        progress(looked_at, max(looked_at, wanted.length))
    found.entries = []
    found.oldest_entry = _oldest(stream)
    return works


def _may_be(entry: StreamEntry, spellings: set[bytes]) -> bool:
    if isinstance(entry.fields, Truncated):
        return True
    values = b"\0".join(entry.fields)
    return any(spelling in values for spelling in spellings) or b"\\u" in values


def _is_about(work: Work, what: str) -> bool:
    if what in (entry_id_of(work), f"{work.identity.task_id}:{entry_id_of(work)}"):
        return True
    identity, request = work.identity, work.request
    if what in (identity.order_id, identity.user_id, identity.task_id):
        return True
    body = request.body if request is not None else {}
    message = body.get("message")
    names = [body.get("requestId"), body.get("correlationId"), body.get("userEmail")]
    names += [message.get("userEmail")] if isinstance(message, dict) else []
    return what in [str(name) for name in names if isinstance(name, str | int | float)]


def _names(what: str) -> list[str]:
    """What it may be in an entry: as it is; of a task id what stands behind the function, and before an entry id."""
    function, _, rest = what.partition(":")
    if function not in KINDS or not rest:
        return [what]
    before, _, last = rest.rpartition(":")
    return [what, rest, before, last] if before and _is_entry_id(last) else [what, rest]


def _order_id(what: str, works: Sequence[Work]) -> str:
    """Whose row is shown: that of the order named, or of the one that a task, an entry or a request is about."""
    if any(what in (work.identity.order_id, work.identity.user_id) for work in works):
        return what
    orders = {work.identity.order_id for work in works} - {None}
    return orders.pop() or what if len(orders) == 1 else _names(what)[:2][-1]


def _oldest(stream: CommandStream) -> str | None:
    with redis_errors_explained():
        first: Any = stream.redis.xrange(stream.name, count=1)
    return first[0][0].decode() if first else None


def _places(stream: CommandStream, entry_ids: Sequence[str]) -> dict[str, tuple[str, str | None]]:
    """What the group is not done with: unread, or in whose hand."""
    if not entry_ids:
        return {}
    unacknowledged = stream.unacknowledged(entry_ids)
    places: dict[str, tuple[str, str | None]] = {}
    with redis_errors_explained():
        for entry_id in unacknowledged:
            try:
                pending: Any = stream.redis.xpending_range(stream.name, stream.group, entry_id, entry_id, 1)
            except ResponseError:
                pending = []  # no group yet
            if pending:
                consumer = pending[0]["consumer"].decode(errors="replace")
                seconds, times = pending[0]["time_since_delivered"] / 1000, pending[0]["times_delivered"]
                places[entry_id] = (IN_HAND, f"of {consumer} for {seconds:.1f} s, delivered {times} times")
            else:
                places[entry_id] = (UNREAD, None)
    return places


def _outcomes(
    rows: AuditedRows, works: Sequence[Work], places: dict[str, tuple[str, str | None]]
) -> dict[str, tuple[str, str | None]]:
    """What became of entries that the group is done with."""
    evidence = rows.evidence(works, places.keys())
    outcomes: dict[str, tuple[str, str | None]] = {}
    stored: set[str] = set()
    for work in works:
        finding = find_outcome(work, evidence)
        outcome = finding.outcome
        if outcome is AuditOutcome.STORED and isinstance(work.command, CloseOrder):
            if work.command.order_id in stored:
                outcome = AuditOutcome.DUPLICATE
            stored.add(work.command.order_id)
        record = evidence.records.get(entry_id_of(work))
        words = DONE if isinstance(work.command, HistoryQuestion) else outcome.value
        if outcome is AuditOutcome.FAILED and record is not None:
            words = record.state.value
        outcomes[entry_id_of(work)] = (words, finding.code or finding.reason)
    return outcomes


def _order(connection: Connection, what: str) -> dict[str, Any] | None:
    return _row(connection, 'SELECT * FROM "Orders" WHERE "orderId" = :what', what)


def _user(connection: Connection, what: str) -> dict[str, Any] | None:
    return _row(
        connection,
        'SELECT *, (SELECT count(*) FROM "Orders" WHERE "userId" = "userID") AS orders FROM "User" '
        'WHERE "userID" = :what OR "email" = :what LIMIT 1',
        what,
    )


def _row(connection: Connection, statement: str, what: str) -> dict[str, Any] | None:
    if "\0" in what:
        return None
    row = connection.execute(text(statement), {"what": what}).mappings().first()
    return None if row is None else {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is None:
        # The columns hold UTC.
        return f"{value}Z"
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _failed(connection: Connection, settings: Settings, what: str, found: Found) -> Iterator[FoundFailed]:
    seen: set[int] = set()
    # A conflict is on record under a task id of its own, and under its order.
    for name, value in (("order_id", _names(what)[:2][-1]), *((name, what) for name in NAMES_OF_FAILED)):
        try:
            which = Filter(**{name: value})  # type: ignore[arg-type]
        except ValueError:
            return
        tasks = find_failed(connection, settings.scope, which, limit=MOST_FAILED + 1)
        found.more_failed = found.more_failed or len(tasks) > MOST_FAILED
        for task in tasks[:MOST_FAILED]:
            if task.id not in seen:
                seen.add(task.id)
                yield FoundFailed(task=task, attempts=attempts_of(connection, task.id))


def _states(found: Found) -> Iterator[str]:
    told = found.order is not None and found.order["orderId"] in _names(found.what)
    if told:
        yield "stored"
    if found.user is not None:
        yield "a user"
    for each in found.failed or ():
        yield f"{each.task.state} ({each.task.code})"
    for entry in found.entries or ():
        # The row, or the record, says it better, where there is one.
        if entry.state not in ("stored", "failed", "retrying", "resolved", "discarded") or not (
            told or found.user or found.failed
        ):
            yield entry.state
    if not (found.order or found.user or found.failed or found.entries or found.problems):
        yield _nowhere(found)


def _nowhere(found: Found) -> str:
    if _is_entry_id(found.what) and found.oldest_entry:
        before = position_of(found.what) < position_of(found.oldest_entry)
        return "trimmed from the stream, with no failure on record" if before else "never seen"
    return "never seen"


def _is_entry_id(what: str) -> bool:
    if not re.fullmatch(r"[0-9]{1,20}-[0-9]{1,20}", what):
        return False
    try:
        position_of(what)
    except ValueError:
        return False
    return True
