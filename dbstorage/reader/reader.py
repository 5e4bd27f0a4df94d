"""The stream as one more queue of a Celery worker: session, execution and housekeeping put together."""

import logging
import time
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError

from dbstorage.failed_tasks.sweep import run_due
from dbstorage.keys import lease_key, worker_key
from dbstorage.metrics.health import ReaderState
from dbstorage.metrics.service_metrics import ServiceMetrics
from dbstorage.reader.events import TaskEventSender
from dbstorage.reader.execution import LOOK_SECONDS, Execution
from dbstorage.reader.group import accepted, parse_consumers
from dbstorage.reader.lease import give_up
from dbstorage.reader.link import LATE_SECONDS
from dbstorage.reader.session import Session, State
from dbstorage.redis_connection import connect_redis, redis_error
from dbstorage.settings import Ordering, Settings
from dbstorage.storage.failures import told_id
from dbstorage.storage.outcome import Outcome, Report, Status
from dbstorage.storage.turn import Turns
from dbstorage.wire.entry import StreamEntry
from dbstorage.worker.internals import stop_worker, submit
from dbstorage.worker.requests import StreamRequest

logger = logging.getLogger(__name__)

TRIM_SECONDS = 5.0
CLAIM_SECONDS = 1.0
SWEEP_SECONDS = 1.0
CLEAN_SECONDS = 15.0
BEAT_SECONDS = 1.0
#: Idle milliseconds that a released entry is given, so that any worker may claim it at once.
RELEASED_IDLE = 3_600_000
#: Seconds that a stopping worker waits for Redis; without Redis the keys expire by themselves.
FAREWELL_SECONDS = 1.0


class StreamReader:
    """Reads the command stream for one worker; `consumer` is Celery's consumer, which has the hub, timer and pool."""

    def __init__(self, settings: Settings, consumer: Any, turns: Turns) -> None:
        self.settings = settings
        self._consumer = consumer
        self.session = Session(settings, consumer.hostname, consumer.hub, consumer.timer, self)
        self.execution = Execution(settings, consumer, turns, self, lambda: self.session.available)
        self._events = TaskEventSender(settings.task_events)
        self._metrics: ServiceMetrics = consumer.app.metrics
        self._timers: list[Any] = []
        self._sweeping = False
        self.redis_answers = True

    # What Celery's blueprint asks for

    def start(self) -> None:
        """Begin to read, or go on after the broker was lost."""
        self.execution.stopping = False
        self.session.open()
        self._every(BEAT_SECONDS, self._beat)
        self.execution.look()
        self._every(LOOK_SECONDS, self.execution.look)
        self._every(SWEEP_SECONDS, self._sweep)
        self._every(TRIM_SECONDS, self._trim)
        self._every(max(0.5, self.settings.claim_idle / 4), self._renew_claims)
        if self.settings.ordering is Ordering.PARALLEL:
            self._every(CLAIM_SECONDS, self._claim_idle)
            self._every(CLEAN_SECONDS, self._look_for_strict_order)
        self._every(CLEAN_SECONDS, self._list_consumers)

    def pause(self) -> None:
        """The broker was lost: leave the event loop, keep what is in hand."""
        self._cancel_timers()
        self.session.close()
        self._sweeping = False
        self._metrics.reader_paused()
        self.execution.resubmit_unaccepted()

    @property
    def busy(self) -> bool:
        """Whether a job of the reader is in the pool."""
        return self.execution.busy or self._sweeping

    def stop(self) -> None:
        """The worker stops: read nothing more, give back what was only read ahead."""
        if self.execution.stopping:
            return
        self.execution.stopping = True
        self.redis_answers = self.session.answers and redis_error(self.settings.redis_url, LATE_SECONDS) is None
        self._cancel_timers()
        self.session.close()
        self.execution.drop_waiting()
        self._release(keep=set(self.execution.entry_ids()))
        self.drained()

    def finish(self) -> None:
        """The pool has drained: give everything back that is left."""
        self.execution.stopping = True
        self.session.close()
        self._release(keep=set())
        token = self.session.owner.token
        self._farewell(
            [
                give_up(lease_key(self.settings), token),
                give_up(worker_key(self.settings, self.session.owner.node_name), token),
            ]
        )

    # What the session tells

    def deliver(self, entries: list[StreamEntry], deliveries: dict[str, int]) -> None:
        """Entries were read."""
        self.execution.add(entries, deliveries)

    def in_hand(self, entry_id: str) -> bool:
        """Whether an entry is being worked on already."""
        return entry_id in self.execution.entry_ids()

    def drop_waiting(self) -> None:
        """The lease is lost."""
        self.execution.drop_waiting()

    def session_ready(self) -> None:
        """Entries can be run and read."""
        self.execution.pump()

    def refuse(self, sentence: str) -> None:
        """Stop the worker for a reason that a person has to mend."""
        logger.critical(sentence)
        self.session.close()
        stop_worker(1)

    # What the execution tells

    def want_more(self) -> None:
        """There is room for another batch."""
        self.session.read_more()

    def drained(self) -> None:
        """The worker stops: who stands by may read from the moment on when nothing is in flight here."""
        if self.session.leads and not self.execution.busy:
            self.session.leads = False
            self._farewell([give_up(lease_key(self.settings), self.session.owner.token)])

    def received(self) -> None:
        """Entries were read and made into task requests."""
        self._metrics.batch_read(time.perf_counter() - self.session.reply_began)

    def finished(self, done: list[tuple[StreamRequest, Outcome]], report: Report, runtime: float) -> None:
        """Outcomes are known: tell Flower, the log and the metrics."""
        for request, outcome in done:
            if outcome.code is not None:
                # What is tried again by itself, or was answered with an error, is nobody's business yet.
                level = logging.WARNING if outcome.status is Status.FAILED else logging.DEBUG
                task_id = told_id(request.id, request.entry_id, outcome)
                logger.log(
                    level, "%s %s: %s", task_id, outcome.status, outcome.message or outcome.code,
                    extra={"task_id": task_id, "entry_id": request.entry_id, "code": outcome.code},
                )  # fmt: skip
        self._metrics.batch_finished(((request.name, outcome) for request, outcome in done), report)
        self._events.send(self._consumer.event_dispatcher, done, runtime)
        self.retried(report)

    # Housekeeping

    def _every(self, seconds: float, function: Callable[[], None]) -> None:
        self._timers.append(self._consumer.timer.call_repeatedly(seconds, function))

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _sweep(self) -> None:
        if self._sweeping or self.execution.outage is not None or not self.session.control.connected:
            return
        hub = self._consumer.hub

        def over(report: Any) -> None:
            hub.call_soon(self._sweep_over, report)

        self._sweeping = submit(
            self._consumer.pool, run_due, (self.settings,), on_accepted=lambda: None, on_result=over, on_lost=over,
        )  # fmt: skip

    def _sweep_over(self, report: Any) -> None:
        self._sweeping = False
        if not isinstance(report, Report):
            return  # its process died
        if report.crash:
            logger.error("Failed tasks could not be run: a bug.\n%s", report.crash)
        self.retried(report)
        if report.more:
            self._sweep()

    def retried(self, report: Report) -> None:
        """Failed tasks were run again: tell Flower, the log and the metrics."""
        for each in report.retried:
            if each.outcome.status is Status.FAILED:
                logger.warning(
                    "%s failed: %s", each.task_id, each.outcome.message,
                    extra={"task_id": each.task_id, "entry_id": each.entry_id, "code": each.outcome.code},
                )  # fmt: skip
        self._metrics.tasks_retried(report.retried)
        self._events.send_retried(self._consumer.event_dispatcher, report.retried)

    def _beat(self) -> None:
        """Tell that the event loop turns, and whether the reader does what it should."""
        waiting = self.execution.outage is not None or not self.session.available
        if self.session.state is State.STANDBY:
            state = ReaderState.STANDBY
        elif waiting and self.session.state is not State.CLAIMING:
            state = ReaderState.WAITING
        else:
            state = ReaderState.ACTIVE
        idle = self.execution.in_flight is None and (waiting or self.session.is_reading)
        self._metrics.reader_beat(state, idle=idle)

    def _trim(self) -> None:
        if self.session.available:
            self.session.ask(accepted, self.session.group.trim(self.settings.stream_keep), needed=False)

    def _renew_claims(self) -> None:
        ids = self.execution.entry_ids()
        if ids and self.session.available:
            self.session.ask(accepted, self.session.group.claim(ids), needed=False)

    def _claim_idle(self) -> None:
        if self.execution.has_room:
            self.session.claim_idle()

    def _look_for_strict_order(self) -> None:
        if self.session.available:
            self.session.look_for_strict_order()

    def _list_consumers(self) -> None:
        """Remove the consumers of workers that are gone and left nothing pending."""
        if not self.session.available:
            return

        def listed(reply: Any) -> None:
            for consumer in parse_consumers(reply):
                name = consumer["name"]
                if consumer["pending"] == 0 and name != self.session.group.consumer:
                    self.session.ask(removal_of(name), ("EXISTS", worker_key(self.settings, name)), needed=False)

        def removal_of(name: str) -> Callable[[Any], None]:
            def known(alive: Any) -> None:
                if not accepted(alive):
                    self.session.ask(accepted, self.session.group.remove_consumer(name), needed=False)

            return known

        self.session.ask(listed, self.session.group.consumers(), needed=False)

    # Leaving

    def _release(self, keep: set[str]) -> None:
        """Let other workers claim at once what this one will not finish."""
        if not self.redis_answers:
            return
        group = self.session.group
        try:
            with connect_redis(self.settings.redis_url, FAREWELL_SECONDS) as redis:
                pending = redis.xpending_range(
                    group.stream, group.name, "-", "+", 4 * self.settings.batch_size, group.consumer
                )
                by_deliveries: dict[int, list[str]] = {}
                for item in pending:
                    entry_id = item["message_id"].decode()
                    if entry_id not in keep:
                        by_deliveries.setdefault(int(item["times_delivered"]), []).append(entry_id)
                for deliveries, entry_ids in by_deliveries.items():
                    # They were read, but given to no process: not a delivery.
                    redis.xclaim(
                        group.stream, group.name, group.consumer, 0, entry_ids, idle=RELEASED_IDLE,
                        retrycount=max(0, deliveries - 1), justid=True,
                    )  # fmt: skip
        except (RedisError, OSError) as error:
            self.redis_answers = False
            logger.info("Pending entries were not released (%s); others claim them when they are idle.", error)

    def _farewell(self, commands: list[tuple[str | bytes | int, ...]]) -> None:
        if not self.redis_answers:
            return
        try:
            with connect_redis(self.settings.redis_url, FAREWELL_SECONDS) as redis:
                for command in commands:
                    redis.execute_command(*command)
        except (RedisError, OSError) as error:
            self.redis_answers = False
            logger.info("Redis could not be told that this worker stops: %s", error)
