"""Carries out what the core asks of the worker's pool, and reports what becomes of each job as events."""

import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from celery import current_app

from dbstorage.batch.job import BatchJob, run_job
from dbstorage.batch.resources import resources_of
from dbstorage.batch.turn import Turn, Turns
from dbstorage.failed_tasks.sweep import run_due
from dbstorage.reader.group import ConsumerGroup
from dbstorage.reader.messages import Accepted, Event, Forgotten, Job, Kind, ProcessLost, Reported
from dbstorage.settings import Settings
from dbstorage.storage.outcome import Outage, Report
from dbstorage.tracing import quiet
from dbstorage.worker.celery_internals.pool import (
    look_for_dead_processes,
    process_ids,
    submit,
    widen_pipes,
    write_at_once,
)
from dbstorage.worker.task_signals import tell_of_batch, tell_of_retries

logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Outstanding:
    """A job that the pool has. With a `turn` it waits, decoded; `process_id` is known once a process has begun it."""

    job: Job
    turn: Turn | None
    process_id: int | None = None


def run_in_pool(job: BatchJob) -> Report:
    """What a pool process runs; never raises."""
    # The process knows them: they need not travel with each job.
    settings: Settings = current_app.settings
    report = run_job(resources_of(settings), job)
    tell_of_batch(job, report, settings.command_stream, sum(report.seconds.values()))
    return report


def run_due_in_pool() -> Report:
    """Run the failed tasks that are due. It is called every second, so it makes no span for OpenTelemetry."""
    settings: Settings = current_app.settings
    with quiet():
        report = run_due(settings)
    tell_of_retries(report, settings.command_stream)
    return report


class PoolJobs:
    """Carries out the core's actions on the pool. Every job that was submitted ends in exactly one event."""

    def __init__(
        self,
        consumer: Any,
        turns: Turns,
        group: ConsumerGroup,
        report: Callable[[Event], None],
        began: Callable[[Job], None],
    ) -> None:
        self._consumer = consumer
        self._turns = turns
        self._group = group
        self._report = report
        self._began = began
        self._outstanding: dict[int, _Outstanding] = {}

    @property
    def busy(self) -> bool:
        """Whether the pool has a job of ours; one that was withdrawn counts until it comes back."""
        return bool(self._outstanding)

    def submit(self, job: Job) -> None:
        """Give a job to the pool; with `ahead` it waits for `begin`."""
        outstanding = _Outstanding(job, self._turns.next(ahead=job.ahead) if job.kind is Kind.RUN else None)
        self._outstanding[job.number] = outstanding
        hub = self._consumer.hub

        def accepted(process_id: int) -> None:
            hub.call_soon(self._accepted, job.number, process_id)

        def result(report: Any) -> None:
            hub.call_soon(self._ended, job.number, Reported(job.number, report))

        def lost(reason: str) -> None:
            hub.call_soon(self._lost, job.number, reason)

        if not job.ahead:
            self._began(job)
        function, arguments = self._call(outstanding)
        try:
            taken = submit(
                self._consumer.pool, function, arguments, on_accepted=accepted, on_result=result, on_lost=lost
            )
        except Exception as error:
            # Reported as an outage, so that the back-off keeps it from being tried again without a pause.
            logger.exception("The pool did not take a job.")
            reason = f"the pool did not take a job: {error!r:.200}"
            nothing = Report([None] * len(job.entries), [False] * len(job.entries), Outage.DATABASE, reason)
            hub.call_soon(self._ended, job.number, Reported(job.number, nothing))
            return
        if taken:
            write_at_once(self._consumer.pool, hub)
        else:
            # The pool is closed, because the worker stops: `Stop` tells the core.
            self._outstanding.pop(job.number, None)

    def _call(self, outstanding: _Outstanding) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        job = outstanding.job
        if job.kind is Kind.RETRY:
            return run_due_in_pool, ()
        return run_in_pool, (
            BatchJob(
                [entry.id for entry in job.entries],
                [entry.fields for entry in job.entries],
                self._consumer.hostname,
                job.alone,
                job.error,
                job.held_seconds,
                outstanding.turn,
                self._group.creation,
                self._group.remembered,
            ),
        )

    def begin(self, number: int) -> None:
        """Let a job that is ahead begin."""
        outstanding = self._outstanding.get(number)
        if outstanding is not None and outstanding.turn is not None:
            self._began(outstanding.job)
            self._turns.tell(outstanding.turn, go=True)

    def withdraw(self, number: int) -> None:
        """Have a job that is ahead come back undone."""
        outstanding = self._outstanding.get(number)
        if outstanding is not None and outstanding.turn is not None:
            self._turns.tell(outstanding.turn, go=False)

    def kill(self, number: int) -> None:
        """Kill the process that runs a job; other pools than prefork have none."""
        outstanding = self._outstanding.get(number)
        if outstanding is not None and outstanding.process_id in process_ids(self._consumer.pool):
            logger.error("A job has not come back for too long; its process %d is killed.", outstanding.process_id)
            with suppress(ProcessLookupError):
                os.kill(outstanding.process_id, signal.SIGKILL)

    def forget_unaccepted(self) -> None:
        """After the broker was lost: the pool has forgotten the jobs that no process had begun."""
        for number, outstanding in list(self._outstanding.items()):
            if outstanding.process_id is None:
                self._ended(number, Forgotten(number))

    def look(self) -> None:
        """Notice a pool process that was killed, and widen the pipe of the one that takes its place."""
        widen_pipes(self._consumer.pool)
        if self.busy:
            look_for_dead_processes(self._consumer.pool)

    def _accepted(self, number: int, process_id: int) -> None:
        outstanding = self._outstanding.get(number)
        if outstanding is not None:
            outstanding.process_id = process_id
            self._report(Accepted(number))

    def _ended(self, number: int, event: Event) -> None:
        # A job that was forgotten although a process had begun it has ended before.
        if self._outstanding.pop(number, None) is not None:
            self._report(event)

    def _lost(self, number: int, reason: str) -> None:
        outstanding = self._outstanding.get(number)
        if outstanding is None:
            return
        if outstanding.job.entries:
            logger.warning(
                "A pool process with %d entries in hand was lost (%s); what it left is run again.",
                len(outstanding.job.entries),
                reason.rstrip("."),
            )
        self._ended(number, ProcessLost(number))
