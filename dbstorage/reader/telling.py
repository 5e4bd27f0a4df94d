"""Publishes what the reader does: entries in hand to Celery's inspection, outcomes to Flower, log and metrics."""

import logging
import re
import time
from typing import Any

from dbstorage.metrics.service_metrics import ServiceMetrics
from dbstorage.reader.core import Hold
from dbstorage.reader.events import TaskEventSender
from dbstorage.reader.messages import Entry, Job, Kind, Tell
from dbstorage.reader.stream_request import StreamRequest
from dbstorage.settings import Settings
from dbstorage.storage.failures import told_id
from dbstorage.storage.outcome import Outage, Outcome, Report, Status
from dbstorage.wire.entry_id import milliseconds_of
from dbstorage.worker.celery_internals.inspection import count_tasks

logger = logging.getLogger(__name__)

#: What may change with each attempt while the reason stays the same: ids of entries, durations and counts. Other
#: numbers tell reasons apart, such as an SQLSTATE, a port or a session.
_CHANGING = re.compile(r"\b\d+-\d+\b|\b\d[\d.,]*(?= ?(?:%|(?:s|ms|min|h|d|bytes|[KMG]i?B|entries|rows|times)\b))")


class Telling:
    """Publishes outcomes. A task's name and id are computed only where something is published."""

    def __init__(self, settings: Settings, consumer: Any) -> None:
        self._consumer = consumer
        self._events = TaskEventSender(settings.task_events)
        self._metrics: ServiceMetrics = consumer.app.metrics

    def took(self, reply_began: float) -> None:
        """Note that entries are in hand. `reply_began`: when their reply began to come in, by time.perf_counter()."""
        self._metrics.batch_read(time.perf_counter() - reply_began)

    def began(self, job: Job) -> None:
        """Note that a job begins to run."""
        job.began = time.time()

    def request_of(self, entry: Entry, job: Job | None) -> StreamRequest:
        """The task request of an entry in hand."""
        return StreamRequest(entry, self._consumer.hostname, job.began if job is not None else 0.0)

    def finished(self, tell: Tell) -> None:
        """Publish the outcomes of a job."""
        job, report = tell.job, tell.report
        if report.crash and job.kind is Kind.RETRY:
            logger.error("Failed tasks could not be run again, because of a bug in DBStorage:\n%s", report.crash)
        elif report.crash:
            logger.error(
                "A batch of %d entries met a bug in DBStorage; those that are not stored yet are run alone:\n%s",
                len(job.entries),
                report.crash,
            )
        if job.entries:
            self._count(tell)
        finished = [*zip(tell.entries, tell.outcomes, strict=True)]
        for entry, outcome in finished:
            if outcome.code is not None:
                self._log(self.request_of(entry, job), outcome)
        # Each entry has its share of the batch's time: tools add the runtimes up.
        runtime = (time.time() - job.began) / max(1, len(job.entries))
        self._events.send(
            self._consumer.event_dispatcher, finished, lambda entry: self.request_of(entry, job), runtime
        )  # fmt: skip
        self._retried(report)

    def _count(self, tell: Tell) -> None:
        """Count outcomes by the names of their tasks, which the pool process has told."""
        functions = tell.report.functions
        if not len(functions) == len(tell.job.entries) == len(tell.entries):
            functions = [self.request_of(entry, tell.job).name for entry in tell.entries]
        count_tasks(functions)
        self._metrics.batch_waited(tell.job.began - milliseconds_of(tell.job.entries[0].id) / 1000)
        self._metrics.batch_finished(zip(functions, tell.outcomes, strict=True), tell.report)

    @staticmethod
    def _log(request: StreamRequest, outcome: Outcome) -> None:
        # What is retried by itself, or was answered with an error, needs no operator.
        level = logging.WARNING if outcome.status is Status.FAILED else logging.DEBUG
        task_id = told_id(request.id, request.entry_id, outcome)
        logger.log(
            level, "%s %s: %s", task_id, outcome.status, outcome.message or outcome.code,
            extra={"task_id": task_id, "entry_id": request.entry_id, "code": outcome.code},
        )  # fmt: skip

    def _retried(self, report: Report) -> None:
        """Publish what became of failed tasks that were run again."""
        for each in report.retried:
            if each.outcome.status is Status.FAILED:
                logger.warning(
                    "%s failed: %s", each.task_id, each.outcome.message,
                    extra={"task_id": each.task_id, "entry_id": each.entry_id, "code": each.outcome.code},
                )  # fmt: skip
        self._metrics.tasks_retried(report.retried)
        self._events.send_retried(self._consumer.event_dispatcher, report.retried)


def why_held(hold: Hold) -> str:
    """The reason as it stands behind "Nothing is stored: " in a sentence."""
    if hold.outage is Outage.DATABASE:
        return f"the database does not answer: {hold.reason}"
    if hold.outage is Outage.REDIS:
        return f"Redis does not answer: {hold.reason}"
    return hold.reason if hold.outage is not None else f"an operator has paused the service: {hold.reason}"


class HoldLog:
    """Logs once when nothing can be stored any more, and once when storing goes on; meanwhile each reason once."""

    def __init__(self) -> None:
        #: What was logged of each outage that lasts, without what changes with each attempt.
        self._logged: dict[Outage | None, set[str]] = {}
        #: Outages that another one has taken the place of: whether they are over shows only when something is stored.
        self._hidden: dict[Outage | None, Hold] = {}

    def changed(self, before: Hold | None, after: Hold | None, now: float) -> None:
        """Log what has changed; `now` on the core's clock."""
        if before is not None and (after is None or after.outage is not before.outage):
            self._ended(self._hidden.pop(before.outage, before), after, now)
        if after is None:
            return
        logged = self._logged.setdefault(after.outage, set())
        reason = _CHANGING.sub("", after.reason)
        if reason not in logged:
            _log_reason(after, begins=not logged)
            logged.add(reason)

    def _ended(self, hold: Hold, after: Hold | None, now: float) -> None:
        answers = hold.outage is Outage.DATABASE and after is not None and after.outage in (Outage.FAULT, Outage.REPLAY)
        if after is not None and not answers:
            self._hidden[hold.outage] = hold
            return
        over = [hold]
        if after is None and hold.outage is not None:
            over += self._hidden.values()
            self._hidden.clear()
        for each in over:
            self._logged.pop(each.outage, None)
            _log_end(each, now)


def _log_end(hold: Hold, now: float) -> None:
    seconds = now - hold.since
    if hold.outage is None:
        logger.warning("The operator's pause is over after %.1f s.", seconds)
    elif hold.outage is Outage.FAULT:
        logger.warning("Storing goes on after %.1f s: what was wrong with the database is mended.", seconds)
    elif hold.outage is Outage.REPLAY:
        logger.warning("Storing goes on after %.1f s: the replay has ended.", seconds)
    elif hold.outage is Outage.REFUSED:
        logger.warning("Storing goes on after %.1f s: Redis takes acknowledgements again.", seconds)
    else:
        logger.log(_level(hold, logging.WARNING), "%s is back after %.1f s.", hold.outage.title(), seconds)


def _log_reason(hold: Hold, *, begins: bool) -> None:
    reason = hold.reason.rstrip(".")
    if hold.outage is None:
        logger.warning("Paused by an operator: %s. Nothing is stored until somebody resumes.", reason)
    elif hold.outage is Outage.REPLAY:
        logger.warning("%s.", reason)
    elif hold.outage in (Outage.FAULT, Outage.REFUSED):
        logger.error("Nothing can be stored until this is mended: %s.", reason)
    elif begins:
        level = _level(hold, logging.ERROR)
        logger.log(level, "%s is away: %s. Storing goes on when it is back.", hold.outage.title(), reason)


def log_refused(before: Hold | None, after: Hold | None, now: float) -> None:
    """Log once when Redis takes no answers any more, and once when that is over; `now` on the core's clock."""
    if after is not None and before is None:
        logger.error(
            "%s. Questions are tried again until they are too old; commands are stored meanwhile.", after.reason
        )
    elif before is not None and after is None:
        logger.warning("Redis takes answers again, or nobody waits for one any more, after %.1f s.", now - before.since)


def _level(hold: Hold, level: int) -> int:
    """At which level an outage is logged: a lost Redis quietly, because the link logs it itself."""
    return level if hold.outage is Outage.DATABASE else logging.INFO
