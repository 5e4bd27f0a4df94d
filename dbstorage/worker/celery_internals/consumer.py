"""The consumer: the worker's connection to the broker, its event loop, and how both end.

Leans on `Consumer.ensure_connected`, `on_connection_error_before_connected` and `…_after_connected`: short pauses
while the broker is away. On `Consumer.loop` and `stop`: the last moments before Celery closes its pool, and forgets
what the pool has not begun. On `on_decode_error`, `on_unknown_message`, `on_unknown_task` and `on_invalid_task`: Celery
would log the whole body of a message that it cannot use. `worker_shutting_down` (documented) is sent by the handler of
SIGTERM, whatever the main thread is waiting for.
"""

import logging
import math
import threading
import time
from typing import Any, Protocol

from celery import signals
from celery.exceptions import WorkerShutdown
from celery.worker import state
from celery.worker.consumer import Consumer

from dbstorage.printable import without_addresses
from dbstorage.redis_access.client import redis_error
from dbstorage.urls.redis_url import is_redis
from dbstorage.worker.broker_connections import BrokerChannel, give_up_broker
from dbstorage.worker.celery_internals.inspection import tags_in_work
from dbstorage.worker.celery_internals.pool import keep_a_process, kill_processes, look_for_dead_processes

#: Longer than the statement timeout, and short enough for the worker to end within 10 seconds.
DRAIN_SECONDS = 6.5
#: Seconds after SIGTERM when nothing is waited for any longer.
END_SECONDS = 7.5
#: How often a worker that stops looks for processes that ended.
LOOK_WHILE_DRAINING = 0.2
#: A worker that stops does not wait for a broker that is silent for this long.
SILENT_SECONDS = 0.5
#: Seconds between two attempts at a broker that takes connections and refuses commands.
REFUSED_PAUSE = 1.0

logger = logging.getLogger(__name__)


class StoppableReader(Protocol):
    """The reader, as the consumer sees it: it gives the pool jobs, beside the broker."""

    @property
    def busy(self) -> bool:
        """Whether a job of it is in the pool."""

    def stop(self) -> None:
        """Give the pool nothing more."""


class PatientConsumer(Consumer):  # type: ignore[misc]
    """Reconnects to the broker for ever, with pauses of 0.2 s to 2 s, and stops when the reader's jobs have ended."""

    reader: StoppableReader | None = None
    _told_of_loss = False
    _drained_by = math.inf

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # Nothing here uses Celery's gossip between workers, and it logs a traceback whenever the broker is lost.
        super().__init__(*arguments, **{**options, "without_gossip": True})
        self._celerys_loop: Any = self.loop  # type: ignore[has-type]
        self.loop = self._turn_until_shutdown
        BrokerChannel.tags_in_work = staticmethod(tags_in_work)
        signals.worker_shutting_down.connect(self._prepare_stop)

    def _prepare_stop(self, **_: Any) -> None:
        """Make sure that stopping ends in time. Called by the signal handler, whatever the main thread is doing."""
        if self._drained_by < math.inf:
            return
        self._drained_by = time.monotonic() + DRAIN_SECONDS
        end = threading.Timer(END_SECONDS, self._end)
        end.daemon = True
        end.start()
        if self._redis_error(SILENT_SECONDS) is not None:
            give_up_broker()

    def _end(self) -> None:
        # The pool first, because the worker has to end even if closing the connections fails.
        killed = kill_processes(self.pool)
        give_up_broker()
        if killed:
            logger.warning("The pool did not end in time and was killed; what it had in hand stays pending.")

    def start(self) -> None:
        """Called when the pool runs."""
        keep_a_process(self.pool)
        super().start()

    def _turn_until_shutdown(self, *arguments: Any) -> None:
        """Run the event loop, then drain. The pool is still open then, and replaces processes that end meanwhile."""
        try:
            self._celerys_loop(*arguments)
        except WorkerShutdown:
            self._drain()
            raise

    def stop(self) -> None:
        """Stop the reader if that has not been done: at SIGTERM the worker may have been waiting for its broker."""
        self._drain()
        super().stop()

    def _drain(self) -> None:
        """Let the event loop go on until the jobs of the reader have come back.

        Celery forgets the jobs that no process has begun, and a process whose job was forgotten waits 30 s at its end.
        """
        self._prepare_stop()
        if self.reader is None:
            return
        self.reader.stop()
        if not self.hub.readers:
            # Celery's loop has ended, and it has forgotten the pool.
            self.pool.register_with_event_loop(self.hub)
        # A process may end by itself (--max-tasks-per-child) while a job of ours is in its pipe.
        looking = self.timer.call_repeatedly(LOOK_WHILE_DRAINING, look_for_dead_processes, (self.pool,))
        turns = self.hub.create_loop()
        while self.reader.busy and time.monotonic() < self._drained_by:
            try:
                next(turns)
            except (*self.connection_errors, OSError, StopIteration):
                # The broker is lost; the pool is not.
                turns = self.hub.create_loop()
        looking.cancel()

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Called with a message whose body cannot be decoded, for example because of half a surrogate pair."""
        _log_refused(message, f"its body is no JSON in UTF-8 ({exc})")
        message.ack()

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Called with a message that names no task."""
        self._reject(message, None, "it names no task")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Called with a message that Celery cannot make a task request of."""
        self._reject(message, exc, f"it is no task request of Celery ({type(exc).__name__})")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Called with a call of a task that does not exist."""
        _log_refused(message, "there is no such task")
        name, task_id = message.headers["task"], message.headers.get("id")
        message.reject_log_error(logger, self.connection_errors)
        if self.event_dispatcher:
            self.event_dispatcher.send("task-failed", uuid=task_id, exception=f"NotRegistered({name!r})")
        signals.task_unknown.send(sender=self, message=message, exc=exc, name=name, id=task_id)

    def _reject(self, message: Any, error: Exception | None, why: str) -> None:
        _log_refused(message, why)
        message.reject_log_error(logger, self.connection_errors)
        signals.task_rejected.send(sender=self, message=message, exc=error)

    def ensure_connected(self, connection: Any) -> Any:
        """Connect, however long it takes, and react to SIGTERM meanwhile."""
        # A single attempt of kombu's at a frozen Redis blocks for 15 s, signals included.
        while (error := self._redis_error(REFUSED_PAUSE)) is not None:
            self._broker_is_away(error, REFUSED_PAUSE)
            time.sleep(REFUSED_PAUSE / 4)
            state.maybe_shutdown()
        connection.ensure_connection(
            self._broker_is_away, max_retries=None, interval_start=0.2, interval_step=0.2, interval_max=2.0,
            callback=state.maybe_shutdown,
        )  # fmt: skip
        self._connected_at = time.monotonic()
        return connection

    def _redis_error(self, timeout: float) -> Exception | None:
        """Why a Redis broker does not answer; None where it does, or where the broker is no Redis."""
        url: str = self.app.settings.broker_url
        return redis_error(url, timeout) if is_redis(url) else None

    def on_connection_error_before_connected(self, error: Exception) -> None:
        """Called when a broker that took the connection refused what came next, as a replica does."""
        self._connection_ended()
        self._broker_is_away(error, REFUSED_PAUSE)

    def on_connection_error_after_connected(self, error: Exception) -> None:
        """Called when the connection was lost."""
        super().on_connection_error_after_connected(error)
        self._connection_ended()

    def _connection_ended(self) -> None:
        if time.monotonic() - self._connected_at < 2 * REFUSED_PAUSE:
            # Celery would try again at once, for as long as the broker refuses.
            time.sleep(REFUSED_PAUSE)
            state.maybe_shutdown()
        else:
            self._told_of_loss = False

    def _broker_is_away(self, error: Exception, interval: float) -> None:
        level = logging.DEBUG if self._told_of_loss else logging.WARNING
        self._told_of_loss = True
        logger.log(
            level, "The broker %s is away: %s. The worker waits for it.", self.conninfo.as_uri(), str(error).rstrip(".")
        )


def _log_refused(message: Any, why: str) -> None:
    """Log a call without its body, which may hold personal data."""
    headers = message.headers or {}
    logger.error(
        "A call was refused: %s. Task %s, task id %s.",
        why, *(without_addresses(str(headers.get(name, "unknown"))[:100]) for name in ("task", "id")),
    )  # fmt: skip
