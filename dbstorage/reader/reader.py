"""The stream as one more queue of a Celery worker: events go into the core, and its actions are carried out."""

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from dbstorage.batch.turn import Turns
from dbstorage.metrics.health import ReaderState
from dbstorage.metrics.service_metrics import ServiceMetrics
from dbstorage.reader import messages
from dbstorage.reader.core import Core
from dbstorage.reader.farewell import say_farewell
from dbstorage.reader.group import ConsumerGroup
from dbstorage.reader.housekeeping import Housekeeping
from dbstorage.reader.link import Link
from dbstorage.reader.messages import Action, Event
from dbstorage.reader.pool_jobs import PoolJobs
from dbstorage.reader.stream_actions import StreamActions
from dbstorage.reader.stream_request import StreamRequest
from dbstorage.reader.telling import HoldLog, Telling, log_refused, why_held
from dbstorage.redis_access.holder import KeyHolder
from dbstorage.settings import Ordering, Settings
from dbstorage.worker.celery_internals.inspection import list_on_demand
from dbstorage.worker.celery_internals.pool import concurrency
from dbstorage.worker.celery_internals.worker_process import stop_worker

logger = logging.getLogger(__name__)

#: How often the core is told that time has passed.
TICK_SECONDS = 0.25
#: How often a killed pool process is looked for, and the heartbeat goes to the metrics.
LOOK_SECONDS = 1.0


class ReaderShell:
    """Reads the command stream for one worker; `consumer` is Celery's consumer, which has the hub, timer and pool.

    It decides nothing: what happens next is the core's business.
    """

    def __init__(self, settings: Settings, consumer: Any, turns: Turns) -> None:
        self._settings = settings
        self._consumer = consumer
        self._metrics: ServiceMetrics = consumer.app.metrics
        strict = settings.ordering is Ordering.STRICT
        self.core = Core(strict, settings.batch_size, concurrency(consumer.pool), jitter=random.random)
        self._holder = KeyHolder.this_process(consumer.hostname)
        self._group = ConsumerGroup(settings, consumer.hostname)
        self._link = Link(settings, self._holder, self._group, consumer.hub, consumer.timer, self)
        self._stream = StreamActions(settings, self._holder, self._group, self._link, self.handle)
        self._telling = Telling(settings, consumer)
        self._hold_log = HoldLog()
        self._pool = PoolJobs(consumer, turns, self._group, self.handle, self._telling.began)
        self._housekeeping = Housekeeping(settings, self._holder, self._group, self._link, self.core, self.handle)
        self._events: deque[Event] = deque()
        self._handling = False
        self._timers: list[Any] = []
        self._redis_answers = True
        #: The sentence on a late job that was logged last; None where none is late.
        self._delay: str | None = None
        list_on_demand(self.requests)

    # What Celery's blueprint asks for

    def start(self) -> None:
        """Begin to read, or go on after the broker was lost."""
        self._link.open()
        self._look()
        self._every(TICK_SECONDS, self._tick)
        self._every(LOOK_SECONDS, self._look)
        self._every(LOOK_SECONDS, self._beat)
        for seconds, function in self._housekeeping.timers():
            self._every(seconds, function)

    def pause(self) -> None:
        """The broker was lost: leave the event loop, keep what is in hand."""
        self._cancel_timers()
        self._link.close()
        self._metrics.reader_paused()
        self._pool.forget_unaccepted()

    @property
    def busy(self) -> bool:
        """Whether a job of the reader is in the pool."""
        return self._pool.busy

    def stop(self) -> None:
        """The worker stops: read nothing more, give back what was only read ahead, let the jobs come to their end."""
        if self.core.stopping:
            return
        self._redis_answers = self._link.answers
        self._link.reading.end(lambda: None)
        self.handle(messages.Stop())

    def finish(self) -> None:
        """The pool has ended: release everything that is left, and say farewell to Redis."""
        self._cancel_timers()
        self.handle(messages.Finish())
        self._link.close()
        if self._redis_answers:
            say_farewell(self._settings, self._holder, self._stream.token, self._group)

    def set_aside(self, aside: bool) -> None:
        """An operator tells this worker to leave the stream to others, or to take its turn again."""
        if aside is not self.core.set_aside:
            what = "reads nothing until it is told to (add_consumer)" if aside else "takes its turn again"
            logger.warning("Told by remote control: this worker %s.", what)
        self.handle(messages.SetAside(aside))

    def _lease_given(self) -> None:
        if self.core.set_aside:
            # The read that was waiting has ended.
            self._link.close()
            self._link.open()
        elif not self.core.stopping:
            self._link.lose("the lease was given up, because there was no progress")

    def requests(self) -> list[StreamRequest]:
        """The entries in hand as task requests."""
        waiting = [self._telling.request_of(entry, None) for entry in self.core.waiting]
        return waiting + [
            self._telling.request_of(entry, job) for job in self.core.jobs.values() for entry in job.entries
        ]

    # What the link tells

    def link_up(self) -> None:
        """The link is up."""
        # Asked before the lease, so its answer comes first: a service that is paused begins nothing.
        self._housekeeping.ask_for_pause()
        self.handle(messages.LinkUp())

    def link_down(self) -> None:
        """The link is down."""
        self.handle(messages.LinkDown())

    def refuse(self, sentence: str) -> None:
        """Stop the worker for a reason that a person has to mend."""
        logger.critical(sentence)
        self._link.close()
        stop_worker()

    # Events and actions

    def handle(self, event: Event) -> None:
        """Pass an event to the core and carry out its actions. An event that comes meanwhile is queued behind it."""
        self._events.append(event)
        if self._handling:
            return
        self._handling = True
        try:
            while self._events:
                self._handle(self._events.popleft())
        finally:
            self._handling = False

    def _handle(self, event: Event) -> None:
        paused, away, refused, rests = self.core.paused, self.core.away, self.core.refused, self.core.rests
        try:
            actions = self.core.on(event, _now())
        except Exception:
            # Raised into the event loop, it would end the worker or its connection to the broker.
            logger.exception("The reader met a bug while it handled %s.", type(event).__name__)
            return
        self._carry_out(actions)
        # Logged each by itself: a pause does not end an outage.
        for before, after in ((paused, self.core.paused), (away, self.core.away)):
            if after is not before:
                self._hold_log.changed(before, after, self.core.now)
        log_refused(refused, self.core.refused, self.core.now)
        if self.core.rests is not rests:
            self._beat()

    def _carry_out(self, actions: Sequence[Action]) -> None:
        for action in actions:
            try:
                self._do(action)
            except Exception:
                logger.exception("The reader could not carry out %s.", type(action).__name__)

    def _do(self, action: Action) -> None:
        match action:
            case messages.Submit(job):
                self._pool.submit(job)
            case messages.Begin(number):
                self._pool.begin(number)
            case messages.Read():
                self._stream.read(action)
            case messages.Took():
                self._telling.took(self._link.reading.reply_began)
            case messages.Tell():
                self._telling.finished(action)
            case messages.ListPending():
                self._stream.list_pending(action)
            case messages.FetchPending():
                self._stream.fetch(action)
            case messages.Claim():
                self._stream.claim(action)
            case messages.AskLease():
                self._stream.ask_lease(action)
            case messages.GiveLease():
                self._stream.give_lease(then=self._lease_given)
            case messages.Acknowledge():
                self._stream.acknowledge(action)
            case messages.Release():
                self._stream.release(action)
            case messages.Withdraw(number):
                self._pool.withdraw(number)
            case messages.Kill(number):
                self._pool.kill(number)
            case messages.Left() | messages.Stopped():
                pass

    # Timers

    def _every(self, seconds: float, function: Callable[[], None]) -> None:
        self._timers.append(self._consumer.timer.call_repeatedly(seconds, function))

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _tick(self) -> None:
        self._stream.look_at_progress()
        self.handle(messages.Tick())

    def _look(self) -> None:
        """Notice what became of the pool: a process was killed, or an operator changed their number."""
        self._pool.look()
        processes = concurrency(self._consumer.pool)
        self._metrics.pool_sized(processes)
        self.handle(messages.PoolSized(processes))

    def _beat(self) -> None:
        """Send the heartbeat to the metrics: it shows that the event loop turns, and the state of the reader."""
        core = self.core
        if core.set_aside:
            state = ReaderState.ASIDE
        elif core.link and not core.leads:
            state = ReaderState.STANDBY
        elif core.may_begin and core.holding is None:
            state = ReaderState.ACTIVE
        else:
            state = ReaderState.WAITING
        holding = why_held(core.holding) if core.holding else core.delay
        if core.delay is not None and self._delay is None:
            logger.warning("Nothing is stored: %s", core.delay)
        elif core.delay is None and self._delay is not None:
            logger.warning("The pool works again.")
        self._delay = core.delay
        refusal = core.refused.reason if core.refused else None
        self._metrics.reader_beat(
            state, stalled_for=core.stalled_for, holding=holding, refusal=refusal, rests=core.rests
        )


def _now() -> float:
    """Seconds on a clock that goes on while the machine is suspended, where there is one (Linux)."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
