"""The replay itself. Nobody else writes meanwhile, and entries run through the same code as the first time."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine

from dbstorage.audit.looks import applied_positions
from dbstorage.audit.people_over_time import PeopleOverTime
from dbstorage.audit.stream import CommandStream, Range
from dbstorage.batch.batch_writer import BatchWriter
from dbstorage.batch.resources import SESSION_SETTINGS, Resources
from dbstorage.batch.segments import segments
from dbstorage.commands.orders import CloseOrder
from dbstorage.commands.questions import HistoryQuestion
from dbstorage.commands.users import CreateUser
from dbstorage.database.engine import SHARED_SESSIONS, create_engine
from dbstorage.failed_tasks.connected import connected
from dbstorage.failed_tasks.filters import State
from dbstorage.failed_tasks.trail import record
from dbstorage.replay.position import accept, first_that_may_lack, note_position, where_the_database_is
from dbstorage.settings import Settings
from dbstorage.storage.service import Applied, Service, find_service, hold_writers, last_of
from dbstorage.storage.work import Work, understand
from dbstorage.wire.entry import StreamEntry
from dbstorage.wire.entry_id import entry_id_at, position_of
from dbstorage.wire.payload import pack

#: Seconds for one statement; a replay may have to move people with many orders.
STATEMENT_TIMEOUT = 60.0
REPLAY = "replay"

Progress = Callable[[int], None]


@dataclass(kw_only=True)
class ReplayReport:
    """What a replay did, or would do."""

    dry_run: bool
    #: Ids of the first and the last entry that were looked at; None where there was none.
    first: str | None = None
    last: str | None = None
    entries: int = 0
    #: function -> outcome -> number of entries
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    #: Entries whose failed task says that nothing is to be done: discarded, mended, or still open.
    left_alone: Counter[str] = field(default_factory=Counter)
    #: Ids of orders of which nobody can tell any more whose they are.
    unclear: list[str] = field(default_factory=list)
    #: The first entry that the stream still has, where earlier ones were asked for and are gone.
    trimmed_before: str | None = None
    #: Whether the database now counts as the service's own, so that work goes on.
    accepted: bool = False

    def count(self, function: str, outcome: str) -> None:
        """Count an entry."""
        self.counts.setdefault(function, Counter())[outcome] += 1


class _Kept(NamedTuple):
    state: State
    payload: bytes


class _ReplayResources(Resources):
    """Resources of a replay: it holds the lock that keeps writers out, and notes its position only at the end."""

    def apply(self, connection: Connection, entries: Sequence[StreamEntry]) -> tuple[Applied | None, bool]:
        return None, True


class _TrialEngine:
    """The engine of a dry run: everything happens in one transaction, which is rolled back in the end."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A savepoint."""
        with self._connection.begin_nested():
            yield self._connection

    def get_execution_options(self) -> dict[str, bool]:
        """Reading statements are a part of the same transaction, too, instead of being committed each by itself."""
        return {SHARED_SESSIONS: True}

    def dispose(self) -> None:
        """Do nothing: the connection belongs to whoever made this engine."""


def replay(
    settings: Settings,
    first: int | None,
    last: int | None,
    *,
    dry_run: bool,
    who: str,
    progress: Progress = lambda done: None,
) -> ReplayReport:
    """Run the entries from one position to another again, in order, while no worker writes.

    Without `first` it begins where the database is, in parallel order with the first entry of the stream. Without
    `last` it ends with the last entry that any worker has read. Where it began no later and ended there, the database
    counts as the service's own from then on.

    Raises RedisUnavailableError, DatabaseUnavailableError and DatabaseNotReadyError; what was run by then stays.
    """
    engine = _engine(settings)
    holding = create_engine(
        settings.database,
        application_name="dbstorage replay",
        statement_timeout=None,
        idle_in_transaction_timeout=0,
    )
    try:
        with closing(CommandStream(settings)) as stream, connected(holding) as held, held.begin():
            service = find_service(held, settings.scope)
            hold_writers(held, service)
            start = where_the_database_is(held, service)
            begin = first_that_may_lack(stream, settings, start) if first is None else first
            delivered = stream.last_delivered()
            end = delivered if last is None else min(last, delivered)
            run = _Run(settings, stream, service, ReplayReport(dry_run=dry_run), progress)
            if dry_run:
                with connected(engine) as connection, connection.begin() as trial:
                    run.everything(_TrialEngine(connection), Range(begin, end, 0))
                    trial.rollback()
            else:
                run.everything(engine, Range(begin, end, 0))
                with connected(engine) as connection, connection.begin():
                    complete = begin <= start and end == delivered
                    if complete and run.last_entry is not None:
                        applied = last_of([run.last_entry], service.life)
                        note_position(connection, service, applied)
                    what = {"from": entry_id_at(begin), "until": entry_id_at(end)}
                    record(connection, settings.scope, REPLAY, who, filter=what, affected=run.report.entries)
                if complete:
                    accept(settings, who=None)
                    run.report.accepted = True
            return run.report
    finally:
        engine.dispose()
        holding.dispose()


class _Run:
    def __init__(
        self, settings: Settings, stream: CommandStream, service: Service, report: ReplayReport, progress: Progress
    ) -> None:
        self.settings = settings
        self.stream = stream
        self.service = service
        self.report = report
        self.progress = progress
        self.people = PeopleOverTime()
        self.last_entry: StreamEntry | None = None

    def everything(self, engine: Engine | _TrialEngine, wanted: Range) -> None:
        """Run the range."""
        resources = _ReplayResources(self.settings, engine, self.stream.redis)  # type: ignore[arg-type]
        trimmed = self._meet_people(wanted.last)
        if trimmed is not None and wanted.first < position_of(trimmed):
            self.report.trimmed_before = trimmed
        for entries in self.stream.chunks(wanted):
            works = [understand(entry, self.settings.history_limit) for entry in entries]
            self._run(resources, engine, works, is_whole=trimmed is None)
            self.last_entry = entries[-1]
            self.report.first = self.report.first or entries[0].id
            self.report.last = entries[-1].id
            self.report.entries += len(entries)
            self.progress(self.report.entries)

    def _meet_people(self, last: int) -> str | None:
        """Read all createUsers that the stream still has; returns its first entry where earlier ones were trimmed."""
        for entries in self.stream.chunks(Range(0, last, 0)):
            for entry in entries:
                command = understand(entry, self.settings.history_limit).command
                if isinstance(command, CreateUser):
                    self.people.feed(command, position_of(entry.id))
        return self.stream.trimmed_before()

    def _run(
        self, resources: Resources, engine: Engine | _TrialEngine, works: Sequence[Work], *, is_whole: bool
    ) -> None:
        with engine.begin() as connection:
            kept = _records(connection, self.service, works)
            applied = self._applied(connection, works)
        again: list[Work] = []
        unclear: list[Work] = []
        for work in works:
            if isinstance(work.command, HistoryQuestion):
                self.report.left_alone["question"] += 1
            elif (reason := _reason_to_leave(work, kept)) is not None:
                self.report.left_alone[reason] += 1
            else:
                again.append(work)
                if not self._find_owner(work, applied, is_whole=is_whole):
                    unclear.append(work)
        if unclear:
            with engine.begin() as connection:
                there = _orders_there(connection, unclear)
            # An order that is stored already needs no owner.
            missing = [
                work for work in unclear if isinstance(work.command, CloseOrder) and work.command.order_id not in there
            ]
            self.report.unclear += [work.entry.id for work in missing if work.entry is not None]
            again = [work for work in again if not any(work is each for each in missing)]
        for segment in segments(resources, again):
            # There is no time limit here: no job has to end in time.
            BatchWriter(resources, splitting_seconds=inf).run(segment)
        for work in again:
            if work.outcome is not None:
                self.report.count(work.identity.name, work.outcome.code or work.outcome.status.value)

    def _find_owner(self, work: Work, applied: dict[str, int], *, is_whole: bool) -> bool:
        """Put the userID that its owner has in the database into an order; False if the owner is unknown."""
        command, entry = work.command, work.entry
        if not isinstance(command, CloseOrder) or entry is None:
            return True
        position = position_of(entry.id)
        person = self.people.person_of(command.user_id, position)
        if person is None:
            return True
        user_id = self.people.user_id_of(person, position, applied)
        if user_id is None:
            # The user is still to come: the order waits, as it did the first time.
            return True
        if not is_whole and not self.people.had(command.user_id, position):
            # Who had the userID then may have come, and moved on, in entries that have been trimmed.
            return False
        work.command = command._replace(user_id=user_id)
        return True

    def _applied(self, connection: Connection, works: Sequence[Work]) -> dict[str, int]:
        people = {
            person
            for work in works
            if isinstance(work.command, CloseOrder) and work.entry is not None
            if (person := self.people.person_of(work.command.user_id, position_of(work.entry.id))) is not None
        }
        emails = sorted({f"email:{email}" for person in people for email in self.people.emails_of(person)})
        applied = applied_positions(connection, self.service, emails)
        return {identity.removeprefix("email:"): position for identity, position in applied.items()}


def _orders_there(connection: Connection, works: Sequence[Work]) -> set[str]:
    order_ids = [work.command.order_id for work in works if isinstance(work.command, CloseOrder)]
    statement = 'SELECT "orderId" FROM "Orders" WHERE "orderId" = ANY(%s)'
    return set(connection.exec_driver_sql(statement, (order_ids,)).scalars())


def _reason_to_leave(work: Work, kept: dict[str, _Kept]) -> str | None:
    assert work.entry is not None
    record = kept.get(work.entry.id)
    if record is None:
        return None
    if record.state is State.DISCARDED:
        return "discarded"
    if record.payload != pack(work.entry)[1]:
        return "mended"
    return None if record.state is State.RESOLVED else "open"


def _records(connection: Connection, service: Service, works: Sequence[Work]) -> dict[str, _Kept]:
    rows: Any = connection.exec_driver_sql(
        "SELECT entry_id, state, payload FROM dbstorage.failed_tasks "
        "WHERE stream = %s AND consumer_group = %s AND life = %s AND entry_id = ANY(%s)",
        (*service, [work.entry.id for work in works if work.entry is not None]),
    )
    return {entry_id: _Kept(State(state), bytes(payload)) for entry_id, state, payload in rows}


def _engine(settings: Settings) -> Engine:
    return create_engine(
        settings.database,
        application_name="dbstorage",
        statement_timeout=STATEMENT_TIMEOUT,
        session_settings=SESSION_SETTINGS,
    )
