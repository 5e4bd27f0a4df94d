"""One pool job: a batch of entries becomes rows, records and answers, then it is acknowledged."""

import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from dbstorage.batch.ahead import may_write_ahead, write_ahead
from dbstorage.batch.alone import POISON_DEATHS, begin_alone, end_alone, try_recording
from dbstorage.batch.answers import (
    Answered,
    Told,
    acknowledge_and_answer,
    older_pending,
    oldest_answerable,
)
from dbstorage.batch.batch_writer import BatchWriter
from dbstorage.batch.outages import outage_of
from dbstorage.batch.resources import Resources
from dbstorage.batch.segments import segments
from dbstorage.batch.transaction import open_database, without_transaction
from dbstorage.batch.turn import PlaceInLine, Turn, WithdrawnError
from dbstorage.codes import INTERNAL_ERROR, POISON, UNAVAILABLE
from dbstorage.commands.orders import CloseOrder
from dbstorage.commands.questions import HistoryQuestion
from dbstorage.errors import (
    DatabaseUnavailableError,
    DBStorageError,
    OtherDatabaseError,
    RedisUnavailableError,
    RejectedEntry,
    SessionLostError,
)
from dbstorage.settings import Ordering
from dbstorage.storage import history
from dbstorage.storage.outcome import ANSWERED, EXPIRED, Outage, Outcome, Report, Retried, Status
from dbstorage.storage.refused import Refused
from dbstorage.storage.work import Work, functions_of, not_interpreted, understand
from dbstorage.tracing import batch_span
from dbstorage.wire.entry import GET_CLOSE_ORDERS, Fields, StreamEntry, stream_entries
from dbstorage.wire.entry_id import milliseconds_of
from dbstorage.wire.response import Answer, encode_answer
from dbstorage.wire.size import KEPT_BYTES, fitting
from dbstorage.wire.trace_context import carried

POISONED = Outcome(
    Status.FAILED,
    POISON,
    f"The process that ran this entry, or the database, died {POISON_DEATHS} times while it ran alone. "
    "Look for what kills it (memory, a crash in the logs of the worker or of PostgreSQL) before a retry.",
)
#: Seconds after which a job begins no further segment and hands the rest back. Together with the statement timeout this
#: ends it long before the main process would kill it.
LONGEST_RUN_SECONDS = 5.0
#: Seconds that a question waits, in parallel order, for older entries that other workers have in hand.
OLDER_PENDING_SECONDS = 0.5
OLDER_PENDING_PAUSE = 0.02


class BatchJob(NamedTuple):
    """What the main process asks of a pool process. Of an entry that is too large it passes the beginning only.

    The entries are two plain lists, which pickle faster than 500 named tuples. `alone` marks the job of a suspect.
    With an `error` nothing is stored or looked up: the questions are answered with it. `held_seconds`: for how long a
    fault of the database has kept these entries from being stored. `turn`: its place behind the job before (see there).
    """

    entry_ids: list[str]
    fields: Sequence[Fields]
    consumer: str
    alone: bool = False
    error: str = ""
    held_seconds: float = 0.0
    turn: Turn | None = None
    #: Which creation of the group the entries come from, and what Redis remembered of the database when the worker
    #: joined that; "" where it is not known.
    group_creation: str = ""
    remembered: str = ""


def run_job(resources: Resources, job: BatchJob) -> Report:
    """Run a job; never raises for what an entry, PostgreSQL or Redis may do."""
    batch = Batch(resources, job)
    outage: Outage | None = None
    reason = crash = ""
    lost = False
    try:
        if job.alone:
            with batch_span(batch.settings.command_stream, 1):
                batch.run_alone()
        else:
            batch.understand()
            batch.run_in_turn()
    except WithdrawnError:
        # Nothing was done but decoding, or it was rolled back.
        pass
    except (DatabaseUnavailableError, RedisUnavailableError) as error:
        if isinstance(error, RedisUnavailableError):
            resources.forget_redis()
        outage, reason, lost = outage_of(error), str(error), isinstance(error, SessionLostError)
    except Exception:  # noqa: BLE001
        # A bug of ours: the main process runs the entries again one by one, so that only the one that meets it fails.
        crash = traceback.format_exc()
    if batch.refusal:
        # The server we are connected to may be a replica now.
        resources.forget_redis()
    # There is a work for each entry, in their order, or none at all.
    return Report(
        [work.outcome for work in batch.works] or [None] * len(job.entry_ids),
        [entry_id in batch.acknowledged for entry_id in job.entry_ids],
        outage,
        reason,
        crash,
        batch.seconds,
        batch.answer_seconds,
        batch.released,
        functions=functions_of(batch.works),
        refusal=batch.refusal,
        lost=lost,
    )


class Batch:
    """The works of one job, and how far they are."""

    def __init__(self, resources: Resources, job: BatchJob) -> None:
        self.resources = resources
        self.settings = resources.settings
        self.job = job
        resources.serves(job.consumer, job.group_creation, job.remembered)
        self.entries = stream_entries(job.entry_ids, job.fields)
        self.works: list[Work] = []
        self.place = PlaceInLine(job.turn)
        self.acknowledged: set[str] = set()
        self.answer_seconds: list[float] = []
        self.released: list[Retried] = []
        #: The error with which Redis refused an answer. Later questions of the job wait, so that their order is kept.
        self.refusal = ""
        self.seconds = {"decode": 0.0, "database": 0.0, "acknowledge": 0.0}

    def understand(self) -> None:
        """Decode and validate the entries, without a server."""
        started = time.perf_counter()
        self.works = [understand(entry, self.settings.history_limit) for entry in self.entries]
        self.seconds["decode"] = time.perf_counter() - started

    def run_in_turn(self) -> None:
        """Run the entries when the job before has ended, or, where they are all orders, while it commits."""
        place = self.place
        writes_ahead = self.stores_only_orders and may_write_ahead(self.resources) and place.may_write_ahead()
        if not writes_ahead:
            place.wait()
        # That it had to give up is no error for the span to tell.
        with batch_span(self.settings.command_stream, len(self.job.entry_ids)), suppress(WithdrawnError):
            if not (writes_ahead and self._run_ahead()):
                place.wait()
                self.run_together()

    @property
    def stores_only_orders(self) -> bool:
        """Whether all entries are orders."""
        return all([type(work.command) is CloseOrder for work in self.works])

    def _run_ahead(self) -> bool:
        started = time.perf_counter()
        if not write_ahead(self.resources, self.works, self.place):
            return False
        self.seconds["database"] += time.perf_counter() - started
        self._acknowledge(self.works)
        return True

    def run_together(self) -> None:
        """Run the entries; a job with an error only answers its questions with it."""
        if self.job.error:
            self.answer_with_error()
        else:
            self.run()

    def run(self) -> None:
        """Segment by segment: writes in one transaction, then its questions, then the acknowledgement."""
        # Made here, because the time limit for splitting counts from now.
        writer = BatchWriter(self.resources, self.job.held_seconds, is_suspect=self.job.alone)
        if self.stores_only_orders:
            writer.place = self.place
        open_database(self.resources)
        hand_back_at = time.monotonic() + LONGEST_RUN_SECONDS
        for segment in segments(self.resources, self.works):
            if time.monotonic() > hand_back_at:
                return
            questions = [work for work in segment if type(work.command) is HistoryQuestion]
            writes = [work for work in segment if type(work.command) is not HistoryQuestion] if questions else segment
            started = time.perf_counter()
            try:
                writer.run(writes)
            finally:
                self.released = writer.released
                self.seconds["database"] += time.perf_counter() - started
                decided = [work for work in writes if work.outcome is not None]
                if questions and len(decided) == len(writes) and self.settings.ordering is Ordering.STRICT:
                    # Nobody waits for these acknowledgements, so they travel with the answers.
                    acknowledge_later = decided
                else:
                    acknowledge_later = []
                    self._acknowledge(decided)
            if len(decided) < len(writes):
                # What follows may depend on the undecided writes, and waits for the next job.
                return
            self._answer(questions, acknowledge_later)

    def run_alone(self) -> None:
        """Run a single suspect, unless it has killed too often. Decoding it may be what kills the process."""
        [entry] = self.entries
        if not self.job.error:
            # A database that is away, or stuck, is no death of the entry.
            open_database(self.resources)
            try_recording(BatchWriter(self.resources), _poisoned(entry))
        deaths = begin_alone(self.resources.redis, self.settings, entry.id)
        died = False
        try:
            if deaths < POISON_DEATHS:
                self._run_reporting_bugs()
            else:
                # Recording the failure needs its fields. If a process died even of that, it is no longer decoded.
                self._give_up(POISONED, decoded=deaths == POISON_DEATHS)
        except SessionLostError:
            died = True
            raise
        finally:
            if not died:
                end_alone(self.resources.redis, self.settings, entry.id)

    def _run_reporting_bugs(self) -> None:
        try:
            self.understand()
            self.run_together()
        except DBStorageError:
            raise
        except Exception as error:
            self._give_up(bug(error))
            raise

    def _give_up(self, outcome: Outcome, *, decoded: bool = True) -> None:
        # The command is not validated: that may be what went wrong.
        open_database(self.resources)
        [entry] = self.entries
        rejection = RejectedEntry(outcome.code or "", outcome.message or "")
        work = not_interpreted(entry, rejection) if decoded else Work(entry, None, rejection)
        self.works = [work]
        if work.request is not None and work.request.function == GET_CLOSE_ORDERS:
            work.outcome = outcome
        else:
            # As little of it as possible is written, because that may be what kills.
            work.entry = entry._replace(fields=fitting(entry.fields, KEPT_BYTES))
            BatchWriter(self.resources).fail(work, outcome)
        self._acknowledge([work])

    def answer_with_error(self) -> None:
        """Answer the questions with the job's error, while their clients still wait."""
        questions = [work for work in self.works if isinstance(work.command, HistoryQuestion)]
        self._send(questions, [history.Page(error=self.job.error)] * len(questions), [])

    def _answer(self, questions: list[Work], acknowledge_first: list[Work]) -> None:
        if not questions or self.refusal:
            self._acknowledge(acknowledge_first)
            return
        if self.settings.ordering is Ordering.PARALLEL:
            self._wait_for_older_entries(_id(questions[-1]))
        asked_first = milliseconds_of(_id(questions[0]))
        oldest = oldest_answerable(self.resources.redis, self.settings, asked_first)
        for chunk in _chunks(questions):
            # Questions that are too old are not looked up.
            asked = [work for work in chunk if milliseconds_of(_id(work)) >= oldest]
            started = time.perf_counter()
            try:
                pages = dict(zip(map(_id, asked), self._read(asked), strict=True))
            except DatabaseUnavailableError:
                self._acknowledge(acknowledge_first)
                raise
            finally:
                self.seconds["database"] += time.perf_counter() - started
            self._send(chunk, [pages.get(_id(work), history.EMPTY) for work in chunk], acknowledge_first)
            acknowledge_first = []
            if self.refusal:
                return

    def _read(self, questions: list[Work]) -> list[history.Page]:
        if not questions:
            return []
        commands = [work.command for work in questions if isinstance(work.command, HistoryQuestion)]
        try:
            return without_transaction(
                self.resources,
                lambda connection: history.read_pages(connection, self.resources.shape(connection), commands),
            )
        except Refused:
            if len(questions) == 1:
                return [history.Page(error=UNAVAILABLE)]
            return [page for work in questions for page in self._read([work])]

    def _send(self, questions: list[Work], pages: list[history.Page], acknowledge_first: list[Work]) -> None:
        answers = [
            Answered(_id(work), encode_answer(answer_to(work, page)))
            for work, page in zip(questions, pages, strict=True)
        ]
        first = [work.entry.id for work in acknowledge_first if work.entry]
        started = time.perf_counter()
        try:
            told, refusal = acknowledge_and_answer(
                self.resources.redis, self.settings, first, answers, self.resources.stored
            )
        except OtherDatabaseError:
            self.resources.open_anew()
            raise
        self.seconds["acknowledge"] += time.perf_counter() - started
        if first:
            self.resources.told()
        if Told.REFUSED in told:
            self.refusal = refusal
        self.acknowledged.update(first)
        now = time.time()
        for work, page, answer in zip(questions, pages, told, strict=True):
            if answer is Told.REFUSED:
                continue
            self.acknowledged.add(_id(work))
            if answer is Told.TOO_LATE:
                work.outcome = EXPIRED
            elif answer is Told.LOST:
                work.outcome = Outcome(Status.FAILED, UNAVAILABLE, refusal)
            elif answer is Told.BEFORE:
                work.outcome = ANSWERED
            else:
                work.outcome = ANSWERED if page.error is None else ANSWERED._replace(code=page.error)
                self.answer_seconds.append(now - milliseconds_of(_id(work)) / 1000)

    def _acknowledge(self, works: list[Work]) -> None:
        if works:
            self._send([], [], works)

    def _wait_for_older_entries(self, entry_id: str) -> None:
        ours = {each.encode() for each in self.job.entry_ids}
        deadline = time.monotonic() + OLDER_PENDING_SECONDS
        while time.monotonic() < deadline and older_pending(self.resources.redis, self.settings, entry_id, ours):
            time.sleep(OLDER_PENDING_PAUSE)


def bug(error: Exception) -> Outcome:
    """The outcome of an entry that met a bug of ours while it ran alone."""
    return Outcome(Status.FAILED, INTERNAL_ERROR, f"A bug in DBStorage: {error!r:.500}")


def _poisoned(entry: StreamEntry) -> Work:
    """An entry as poison, without being decoded."""
    short = entry._replace(fields=fitting(entry.fields, KEPT_BYTES))
    return Work(short, None, RejectedEntry(POISON, POISONED.message or ""))


def answer_to(work: Work, page: history.Page) -> Answer:
    """The answer of a question with what was read for it."""
    question, request = work.command, work.request
    assert isinstance(question, HistoryQuestion)
    assert request is not None
    return Answer(
        layout=request.layout,
        orders=page.orders,
        request_id=question.request_id,
        in_reply_to=request.entry_id,
        has_more=page.next_cursor is not None,
        next_cursor=page.next_cursor,
        error=page.error,
        trace=carried(request.body),
    )


def _id(work: Work) -> str:
    return work.entry.id if work.entry else ""


def _chunks(questions: list[Work]) -> Iterator[list[Work]]:
    """Runs of questions that together ask for at most ROWS_AT_ONCE rows."""
    chunk: list[Work] = []
    rows = 0
    for work in questions:
        assert isinstance(work.command, HistoryQuestion)
        rows += work.command.limit
        if chunk and rows > history.ROWS_AT_ONCE:
            yield chunk
            chunk, rows = [], work.command.limit
        chunk.append(work)
    if chunk:
        yield chunk
