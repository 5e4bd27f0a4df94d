"""Running batches in the worker's pool: one in flight, one read ahead, and what comes of each."""

import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from dbstorage.reader.batch import Batch, receive
from dbstorage.reader.link import Timer
from dbstorage.reader.outage import OutagePauses
from dbstorage.settings import Settings
from dbstorage.storage.alone import SUSPECT_DELIVERIES
from dbstorage.storage.batch import Job, run_job
from dbstorage.storage.outcome import Outage, Outcome, Report
from dbstorage.storage.resources import resources_of
from dbstorage.wire.entry import GET_CLOSE_ORDERS, StreamEntry
from dbstorage.worker.internals import look_for_dead_processes, submit, track, untrack, widen_pipes
from dbstorage.worker.requests import StreamRequest

logger = logging.getLogger(__name__)

#: How often a killed pool process is looked for while a batch is in flight.
LOOK_SECONDS = 1.0


class Observer(Protocol):
    """Who is told what became of entries."""

    def finished(self, done: list[tuple[StreamRequest, Outcome]], report: Report, runtime: float) -> None:
        """Entries came to their outcome and are acknowledged, or will be."""

    def received(self) -> None:
        """Entries were read and made into task requests."""

    def want_more(self) -> None:
        """There is room for another batch."""

    def drained(self) -> None:
        """While stopping: something came back from the pool."""


def run_in_pool(settings: Settings, job: Job) -> Report:
    """What a pool process runs; never raises."""
    return run_job(resources_of(settings), job)


class Execution:
    """Batches in hand, in stream order."""

    def __init__(
        self, settings: Settings, consumer: Any, timer: Timer, observer: Observer, may_run: Callable[[], bool]
    ) -> None:
        self.settings = settings
        self.waiting: deque[Batch] = deque()
        self.in_flight: Batch | None = None
        self.stopping = False
        self._consumer = consumer
        self._pauses = OutagePauses(timer, self.pump)
        self._observer = observer
        self._may_run = may_run
        self._answering: Batch | None = None

    @property
    def busy(self) -> bool:
        """Whether the pool has a job of ours."""
        return self.in_flight is not None or self._answering is not None

    @property
    def outage(self) -> Outage | None:
        """What is away, as far as batches have told."""
        return self._pauses.away

    @property
    def has_room(self) -> bool:
        """Whether another batch may be read ahead."""
        return not self.waiting and self.outage is None

    def batches(self) -> list[Batch]:
        """Everything in hand."""
        ahead = [batch for batch in (self._answering, self.in_flight) if batch is not None]
        return ahead + list(self.waiting)

    def entry_ids(self) -> list[str]:
        """The ids of all entries in hand."""
        return [entry.id for batch in self.batches() for entry in batch.entries]

    def add(self, entries: list[StreamEntry], deliveries: dict[str, int]) -> None:
        """Take entries that were read, suspects to be run alone, and go on."""
        requests = receive(entries, self._consumer.hostname)
        track(requests)
        self._observer.received()
        whole = Batch(entries, requests)
        if deliveries:
            self.waiting.extend(self._with_suspects_alone(whole, deliveries))
        else:
            self.waiting.append(whole)
        if self.outage is Outage.DATABASE:
            self._answer_unavailable()
        self.pump()

    @staticmethod
    def _with_suspects_alone(whole: Batch, deliveries: dict[str, int]) -> Iterator[Batch]:
        """The batch in stream order, cut so that each suspect runs alone."""
        counts = [deliveries.get(entry.id, 1) for entry in whole.entries]
        for suspect, group in itertools.groupby(range(len(counts)), lambda index: counts[index] >= SUSPECT_DELIVERIES):
            part = whole.part(group)
            part.deliveries = max(deliveries.get(entry.id, 1) for entry in part.entries)
            if suspect:
                yield from part.singles()
            else:
                yield part

    def pump(self) -> None:
        """Start the next batch where nothing is in flight."""
        if self.stopping:
            self._observer.drained()
            return
        if self.in_flight is None and self.waiting and not self._pauses.pausing and self._may_run():
            self._submit(self.waiting.popleft())
        if self.has_room:
            self._observer.want_more()

    def _submit(self, batch: Batch, *, unavailable: bool = False) -> None:
        batch.submission += 1
        batch.accepted = False
        batch.submitted_at = time.time()
        for request in batch.requests:
            request.started = batch.submitted_at
        number = batch.submission
        hub = self._consumer.hub

        def accepted() -> None:
            batch.accepted = True

        def result(report: Report) -> None:
            hub.call_soon(self._finished, batch, number, report)

        def lost(reason: str) -> None:
            hub.call_soon(self._process_lost, batch, number, reason)

        if unavailable:
            self._answering = batch
        else:
            self.in_flight = batch
        job = Job(
            [entry.id for entry in batch.entries],
            [entry.fields for entry in batch.entries],
            self._consumer.hostname,
            frozenset(batch.settled),
            batch.alone,
            unavailable,
        )
        arguments = (self.settings, job)
        if not submit(
            self._consumer.pool, run_in_pool, arguments, on_accepted=accepted, on_result=result, on_lost=lost
        ):
            # The pool is closed: the worker stops, and the entries stay pending.
            self._give_back(batch)

    def _give_back(self, batch: Batch) -> None:
        if batch is self._answering:
            self._answering = None
        else:
            self.in_flight = None
        batch.submission += 1
        self.waiting.appendleft(batch)

    # Results

    def _is_current(self, batch: Batch, number: int) -> bool:
        return batch.submission == number and (batch is self.in_flight or batch is self._answering)

    def _finished(self, batch: Batch, number: int, report: Report) -> None:
        if not self._is_current(batch, number):
            return
        try:
            if report.finished and batch is self.in_flight:
                self.in_flight = None
                self._pauses.end()
                # The next batch first: the pool should not wait while this one's outcomes are told.
                self.pump()
                if self.in_flight is None:
                    self._tell(batch, report)
                else:
                    # Called after the loop has written the next batch to the pool; with none, it would wait for the
                    # next entry and hold that one up.
                    self._consumer.hub.call_soon(self._tell, batch, report)
            else:
                if batch is self.in_flight:
                    self.in_flight = None
                else:
                    self._answering = None
                self._settle(batch, report)
                self._take_back(batch, report)
        except Exception:
            logger.exception("The result of a batch could not be taken.")
        self.pump()

    def _take_back(self, batch: Batch, report: Report) -> None:
        """Keep what is left of a batch, in the form in which it is to be run again."""
        left = batch.part(index for index, done in enumerate(report.acknowledged) if not done)
        if report.crash:
            logger.error("%d entries met a bug and are run alone.\n%s", len(left.entries), report.crash)
            self.waiting.extendleft(reversed(left.singles()))
        elif left.entries and report.outage is None and len(left.entries) == len(batch.entries):
            # Nothing came of it in time, so smaller parts are tried.
            self.waiting.extendleft(reversed(left.halves()))
        elif left.entries:
            self.waiting.appendleft(left)
        if report.outage is not None:
            self._pauses.begin(report.outage, report.reason)
            if report.outage is Outage.DATABASE:
                self._answer_unavailable()

    def _tell(self, batch: Batch, report: Report) -> None:
        try:
            self._settle(batch, report)
        except Exception:
            # Raised into the event loop, it would end the worker or its connection to the broker.
            logger.exception("The outcomes of a batch could not be told.")

    def _settle(self, batch: Batch, report: Report) -> None:
        """Tell of what was decided, and note it, so that it is not told again with what is left of the batch."""
        done: list[tuple[StreamRequest, Outcome]] = []
        for entry, request, outcome, acknowledged in zip(
            batch.entries, batch.requests, report.outcomes, report.acknowledged, strict=True
        ):
            told = entry.id in batch.settled
            if outcome is not None and not told:
                done.append((request, outcome))
                batch.settled[entry.id] = outcome
            if acknowledged and outcome is None and not told:
                logger.error("The entry %s was acknowledged without an outcome.", entry.id)
        untrack([request for request, ok in zip(batch.requests, report.acknowledged, strict=True) if ok])
        if done:
            self._observer.finished(done, report, time.time() - batch.submitted_at)

    def _process_lost(self, batch: Batch, number: int, reason: str) -> None:
        if not self._is_current(batch, number):
            return
        self._give_back(batch)
        self.waiting.popleft()
        batch.deliveries += 1
        logger.warning("The pool process of %d entries was lost (%s); they are run again.", len(batch.entries), reason)
        if batch.deliveries >= SUSPECT_DELIVERIES and not batch.alone:
            self.waiting.extendleft(reversed(batch.singles()))
        else:
            self.waiting.appendleft(batch)
        self.pump()

    def _answer_unavailable(self) -> None:
        """Take the questions out of the waiting batches and have them told that the database is away."""
        if self._answering is not None or self.stopping:
            return
        questions: list[Batch] = []
        others: list[Batch] = []
        for batch in self.waiting:
            asking = [index for index, request in enumerate(batch.requests) if request.name == GET_CLOSE_ORDERS]
            if asking and not batch.alone:
                questions.append(batch.part(asking))
                others.append(batch.part(set(range(len(batch.entries))) - set(asking)))
            else:
                others.append(batch)
        if questions:
            self.waiting = deque(batch for batch in others if batch.entries)
            entries = [entry for batch in questions for entry in batch.entries]
            requests = [request for batch in questions for request in batch.requests]
            settled = {key: outcome for batch in questions for key, outcome in batch.settled.items()}
            self._submit(Batch(entries, requests, settled=settled), unavailable=True)

    # Losing the broker, the lease or the worker

    def look(self) -> None:
        """Notice a killed pool process, and what its successor needs; called every LOOK_SECONDS."""
        widen_pipes(self._consumer.pool)
        if self.in_flight is not None or self._answering is not None:
            look_for_dead_processes(self._consumer.pool)

    def resubmit_unaccepted(self) -> None:
        """After the broker was lost: the pool has forgotten the jobs that no process had begun."""
        for batch in (self._answering, self.in_flight):
            if batch is not None and not batch.accepted:
                self._give_back(batch)

    def drop_waiting(self) -> None:
        """Forget what is not in flight: another worker runs it now."""
        for batch in self.waiting:
            untrack(batch.requests)
        self.waiting.clear()
