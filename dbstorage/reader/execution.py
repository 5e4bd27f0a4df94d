"""Running batches in the worker's pool: one in flight, one read and decoded ahead, and what comes of each."""

import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from dbstorage.reader.batch import Batch, receive
from dbstorage.reader.outage import OutagePauses
from dbstorage.reader.pool_jobs import PoolJobs, Submission
from dbstorage.settings import Settings
from dbstorage.storage.alone import SUSPECT_DELIVERIES
from dbstorage.storage.outcome import Outage, Outcome, Report
from dbstorage.storage.turn import Turns
from dbstorage.wire.entry import GET_CLOSE_ORDERS, StreamEntry
from dbstorage.worker.internals import track, untrack
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


class Execution:
    """Batches in hand, in stream order: `in_flight` runs, `ahead` is decoded meanwhile and waits for its end."""

    def __init__(
        self, settings: Settings, consumer: Any, turns: Turns, observer: Observer, session_available: Callable[[], bool]
    ) -> None:
        self.waiting: deque[Batch] = deque()
        self.in_flight: Submission | None = None
        self.ahead: Submission | None = None
        self.stopping = False
        self._answering: Submission | None = None
        self._consumer = consumer
        self._jobs = PoolJobs(settings, consumer, turns, self._reported, self._process_lost)
        self._pauses = OutagePauses(consumer.timer, self.pump)
        self._observer = observer
        self._session_available = session_available

    @property
    def busy(self) -> bool:
        """Whether the pool has a job of ours."""
        return self._jobs.busy

    @property
    def outage(self) -> Outage | None:
        """What is away, as far as batches have told."""
        return self._pauses.away

    @property
    def has_room(self) -> bool:
        """Whether another batch may be read ahead."""
        return not self.waiting and self.ahead is None and self.outage is None

    def batches(self) -> list[Batch]:
        """Everything in hand."""
        in_pool = (self._answering, self.in_flight, self.ahead)
        return [submission.batch for submission in in_pool if submission is not None] + list(self.waiting)

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
        if self.outage in (Outage.DATABASE, Outage.FAULT):
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
        """Give the pool what it may have: a batch that runs, and one that waits for it."""
        if self.stopping:
            self._observer.drained()
            return
        if self.in_flight is None:
            self.in_flight = self._submit_next()
        if self.in_flight is not None and self.ahead is None and self._next_may_wait(self.in_flight.batch):
            self.ahead = self._submit_next(ahead=True)
        if self.has_room:
            self._observer.want_more()

    @property
    def _may_run(self) -> bool:
        return not self._pauses.pausing and self._session_available()

    def _next_may_wait(self, running: Batch) -> bool:
        """Whether the next batch may wait in the pool: not in an outage, nor where one of the two is to run alone."""
        alone = running.alone or (bool(self.waiting) and self.waiting[0].alone)
        return not alone and self.outage is None and self._jobs.may_wait

    def _submit_next(self, *, ahead: bool = False) -> Submission | None:
        if not self.waiting or not self._may_run:
            return None
        submission = self._jobs.submit(self.waiting[0], ahead=ahead)
        if submission is not None:
            self.waiting.popleft()
        return submission

    def _withdraw_ahead(self) -> None:
        """Put the batch that waits in the pool back into its place."""
        if self.ahead is not None:
            self._jobs.withdraw(self.ahead)
            self.waiting.appendleft(self.ahead.batch)
            self.ahead = None

    def _begin_ahead(self) -> None:
        """The batch in flight is finished: the one that waited for it runs, where a batch may run at all."""
        self.in_flight = None
        if not self._may_run or self.stopping:
            self._withdraw_ahead()
        elif self.ahead is not None:
            self.in_flight, self.ahead = self.ahead, None
            self._jobs.begin(self.in_flight)

    # Results

    def _reported(self, submission: Submission, report: Report) -> None:
        try:
            if submission is self.in_flight and report.finished:
                self._pauses.end()
                # The next batch first: the database should not wait while this one's outcomes are told.
                self._begin_ahead()
                begun = self.in_flight
                self.pump()
                if self.in_flight is begun:
                    self._tell(submission, report)
                else:
                    # Called after the loop has written the next batch to the pool; with none, it would wait for the
                    # next entry and hold that one up.
                    self._consumer.hub.call_soon(self._tell, submission, report)
            elif submission is self.ahead and not report.crash:
                # The one before it took so long that it gave up waiting.
                self._withdraw_ahead()
            elif self._left_pool(submission):
                self._settle(submission, report)
                self._take_back(submission.batch, report)
        except Exception:
            logger.exception("The result of a batch could not be taken.")
        self.pump()

    def _left_pool(self, submission: Submission) -> bool:
        """Forget a submission that did not simply finish; False where it was withdrawn before.

        What comes of it runs before the batch that waits for it.
        """
        if submission is self.ahead:
            self.ahead = None
        elif submission is self.in_flight:
            self._withdraw_ahead()
            self.in_flight = None
        elif submission is self._answering:
            self._withdraw_ahead()
            self._answering = None
        else:
            return False
        return True

    def _take_back(self, batch: Batch, report: Report) -> None:
        """Keep what is left of a batch, in the form in which it is to be run again."""
        left = batch.part(index for index, done in enumerate(report.acknowledged) if not done)
        if report.crash:
            self.waiting.extendleft(reversed(left.singles()))
        elif left.entries and report.outage is None and len(left.entries) == len(batch.entries):
            # Nothing came of it in time, so smaller parts are tried.
            self.waiting.extendleft(reversed(left.halves()))
        elif left.entries:
            self.waiting.appendleft(left)
        if report.outage is not None:
            self._pauses.begin(report.outage, report.reason)
            if report.outage in (Outage.DATABASE, Outage.FAULT):
                self._answer_unavailable()

    def _tell(self, submission: Submission, report: Report) -> None:
        try:
            self._settle(submission, report)
        except Exception:
            # Raised into the event loop, it would end the worker or its connection to the broker.
            logger.exception("The outcomes of a batch could not be told.")

    def _settle(self, submission: Submission, report: Report) -> None:
        """Tell of what was decided, and note it, so that it is not told again with what is left of the batch."""
        batch = submission.batch
        if report.crash:
            logger.error(
                "%d entries met a bug; what is left of them is run alone.\n%s", len(batch.entries), report.crash
            )
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
            self._observer.finished(done, report, time.time() - submission.began)

    def _process_lost(self, submission: Submission, reason: str) -> None:
        if self._left_pool(submission):
            self._run_again(submission.batch, reason)
        self.pump()

    def _run_again(self, batch: Batch, reason: str) -> None:
        batch.deliveries += 1
        logger.warning("The pool process of %d entries was lost (%s); they are run again.", len(batch.entries), reason)
        if batch.deliveries >= SUSPECT_DELIVERIES and not batch.alone:
            self.waiting.extendleft(reversed(batch.singles()))
        else:
            self.waiting.appendleft(batch)

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
            batch = Batch(entries, requests, settled=settled)
            self._answering = self._jobs.submit(batch, unavailable=True)
            if self._answering is None:
                self.waiting.appendleft(batch)

    # Losing the broker, the lease or the worker

    def look(self) -> None:
        """Notice a killed pool process; called every LOOK_SECONDS."""
        self._jobs.look()

    def resubmit_unaccepted(self) -> None:
        """After the broker was lost: the pool has forgotten the jobs that no process had begun."""
        for submission in (self.ahead, self._answering, self.in_flight):
            if submission is None or submission.accepted:
                continue
            if submission is self.ahead:
                self._withdraw_ahead()
            else:
                self._left_pool(submission)
                self.waiting.appendleft(submission.batch)
        self._jobs.forget_unaccepted()

    def drop_waiting(self) -> None:
        """Forget what does not run: another worker runs it now."""
        self._withdraw_ahead()
        for batch in self.waiting:
            untrack(batch.requests)
        self.waiting.clear()
