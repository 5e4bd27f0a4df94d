"""Giving batches to the worker's pool and hearing what became of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dbstorage.reader.batch import Batch
from dbstorage.settings import Settings
from dbstorage.storage.batch import Job, run_job
from dbstorage.storage.outcome import Report
from dbstorage.storage.resources import resources_of
from dbstorage.storage.turn import Turn, Turns
from dbstorage.worker.internals import look_for_dead_processes, submit, widen_pipes, works_side_by_side


@dataclass(eq=False, slots=True)
class Submission:
    """A batch in the pool; the same batch given to the pool again is another one.

    With a `turn` it is decoded and waits until it is begun; `began` is then, in seconds since 1970.
    """

    batch: Batch
    turn: Turn | None = None
    accepted: bool = False
    began: float = 0.0


def run_in_pool(settings: Settings, job: Job) -> Report:
    """What a pool process runs; never raises."""
    return run_job(resources_of(settings), job)


class PoolJobs:
    """The jobs of the reader that the pool has.

    `on_report` and `on_lost` (its process died) are called from the event loop, once for each submission.
    """

    def __init__(
        self,
        settings: Settings,
        consumer: Any,
        turns: Turns,
        on_report: Callable[[Submission, Report], None],
        on_lost: Callable[[Submission, str], None],
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._turns = turns
        self._on_report = on_report
        self._on_lost = on_lost
        self._outstanding: set[Submission] = set()

    @property
    def busy(self) -> bool:
        """Whether the pool has a job of ours, be it one that was withdrawn."""
        return bool(self._outstanding)

    @property
    def may_wait(self) -> bool:
        """Whether a job may wait for its turn: not where it would keep the one before it from running."""
        return works_side_by_side(self._consumer.pool)

    def submit(self, batch: Batch, *, ahead: bool = False, unavailable: bool = False) -> Submission | None:
        """Give a batch to the pool; with `ahead` it waits for `begin`.

        None when the pool is closed: the worker stops, and the entries stay pending.
        """
        submission = Submission(batch, self._turns.next() if ahead else None)
        hub = self._consumer.hub

        def accepted() -> None:
            submission.accepted = True

        def result(report: Report) -> None:
            hub.call_soon(self._ended, submission, self._on_report, report)

        def lost(reason: str) -> None:
            hub.call_soon(self._ended, submission, self._on_lost, reason)

        job = Job(
            [entry.id for entry in batch.entries],
            [entry.fields for entry in batch.entries],
            self._consumer.hostname,
            frozenset(batch.settled),
            batch.alone,
            unavailable,
            turn=submission.turn,
        )
        if not ahead:
            self.begin(submission)
        self._outstanding.add(submission)
        arguments = (self._settings, job)
        if submit(self._consumer.pool, run_in_pool, arguments, on_accepted=accepted, on_result=result, on_lost=lost):
            return submission
        self._outstanding.discard(submission)
        return None

    def begin(self, submission: Submission) -> None:
        """It may run now."""
        submission.began = time.time()
        for request in submission.batch.requests:
            request.started = submission.began
        if submission.turn is not None:
            self._turns.tell(submission.turn, go=True)

    def withdraw(self, submission: Submission) -> None:
        """Have one that waits for its turn come back undone."""
        if submission.turn is not None:
            self._turns.tell(submission.turn, go=False)

    def forget_unaccepted(self) -> None:
        """After the broker was lost: the pool has forgotten the jobs that no process had begun."""
        self._outstanding = {submission for submission in self._outstanding if submission.accepted}

    def look(self) -> None:
        """Notice a killed pool process, and what its successor needs."""
        widen_pipes(self._consumer.pool)
        if self.busy:
            look_for_dead_processes(self._consumer.pool)

    def _ended(self, submission: Submission, tell: Callable[[Submission, Any], None], what: Any) -> None:
        self._outstanding.discard(submission)
        tell(submission, what)
