"""The parts of Celery that its documentation does not promise; tests/worker/test_internals.py names the versions.

- `celery.worker.state`: the registries behind `inspect active`, `inspect stats` and revoke. `Panel.data` of
  `celery.worker.control`: the remote commands, of which those that look for requests are shown the entries in hand.
- `celery.worker.state.should_stop`: how a step ends its worker with an exit code of its own.
- `EventDispatcher._group_buffer`, `buffer_limit` and `send(retry=)`: events leave in one message for a batch, and
  never hold up the event loop when the broker is frozen.
- The pool's list of its processes, which are killed when they do not end, `inqW_fd` of each: its pipe, which is too
  narrow for a batch, and `limit`, how many there should be.
- `Consumer.ensure_connected`, `on_connection_error_before_connected` and `…_after_connected`: short pauses while the
  broker is away. `Consumer.loop` and `stop`: the last moments before Celery closes its pool, and forgets what that
  has not begun.
- `worker_shutting_down` (documented) is sent by the handler of SIGTERM, whatever the main thread is waiting for.

What is less public in kombu, below Celery, stands in `broker.py`; Flower's in `dashboard/internals.py`.
"""

import fcntl
import logging
import math
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import orjson
from celery import bootsteps, signals
from celery.app.events import Events
from celery.events.dispatcher import EventDispatcher
from celery.events.event import group_from
from celery.exceptions import WorkerShutdown
from celery.utils.nodenames import node_format
from celery.utils.time import utcoffset
from celery.worker import state
from celery.worker.consumer import Consumer
from celery.worker.control import Panel
from kombu.serialization import register

from dbstorage.redis_connection import redis_error
from dbstorage.redis_url import is_redis
from dbstorage.worker.broker import BrokerChannel, give_up_broker
from dbstorage.worker.requests import BrokerRequest

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
#: What Linux lets anybody ask for.
PIPE_BYTES = 1024 * 1024
#: Remote commands that look for requests in hand.
LOOKING_COMMANDS = ("active", "query_task", "revoke", "revoke_by_stamped_headers", "terminate")
#: Task events that gather before they are published; more come to the same thing at a higher cost for each.
EVENT_BUFFER = 1_000


logger = logging.getLogger(__name__)

#: The serializer of events: JSON, for Flower and everybody else, written five times as fast.
EVENT_SERIALIZER = "orjson"


def register_event_serializer() -> None:
    """Make EVENT_SERIALIZER known; what it writes is read as any JSON."""
    register(  # type: ignore[no-untyped-call]
        EVENT_SERIALIZER, lambda value: orjson.dumps(value).decode(), orjson.loads, "application/json", "utf-8"
    )


class BatchingDispatcher(EventDispatcher):  # type: ignore[misc]  # Celery has no types
    """Publishes task events in large messages and gives up at once when the broker does not take them."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.buffer_limit = EVENT_BUFFER

    def send_all(self, type: str, events: Iterable[dict[str, Any]]) -> None:
        """Send many events of one type at one moment; what they have in common is prepared once."""
        common = {
            "type": type,
            "hostname": self.hostname,
            "utcoffset": utcoffset(),
            "pid": self.pid,
            "clock": self.clock.forward(),
            "timestamp": time.time(),
        }
        self._group_buffer[group_from(type)].extend({**common, **event} for event in events)
        self.flush()

    def send(self, type: str, *arguments: Any, **fields: Any) -> Any:
        """Send an event; a frozen broker must not freeze the event loop, so nothing is retried."""
        fields["retry"] = False
        return super().send(type, *arguments, **fields)


class BatchingEvents(Events):  # type: ignore[misc]
    """Makes the app use BatchingDispatcher."""

    dispatcher_cls = BatchingDispatcher


class StoppableReader(Protocol):
    """What feeds the pool beside the broker."""

    @property
    def busy(self) -> bool:
        """Whether a job of it is in the pool."""

    def stop(self) -> None:
        """Give the pool nothing more."""


class PatientConsumer(Consumer):  # type: ignore[misc]
    """Reconnects to the broker without end, with pauses of 0.2 s to 2 s, and stops when the reader's jobs are done."""

    reader: StoppableReader | None = None
    _told_of_loss = False
    _drained_by = math.inf

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # Celery's gossip between workers serves nobody here, and at each loss of the broker it fails with a traceback.
        super().__init__(*arguments, **{**options, "without_gossip": True})
        self._celerys_loop: Any = self.loop  # type: ignore[has-type]
        self.loop = self._turn_until_shutdown
        BrokerChannel.tags_in_work = staticmethod(tags_in_work)
        signals.worker_shutting_down.connect(self._prepare_stop)

    def _prepare_stop(self, **_: Any) -> None:
        """See to it that stopping comes to an end; called by the signal's handler, in the midst of anything."""
        if self._drained_by < math.inf:
            return
        self._drained_by = time.monotonic() + DRAIN_SECONDS
        end = threading.Timer(END_SECONDS, self._end)
        end.daemon = True
        end.start()
        if self._redis_error(SILENT_SECONDS) is not None:
            give_up_broker()

    def _end(self) -> None:
        # The pool first: whatever becomes of the connections, the worker has to end.
        killed = kill_processes(self.pool)
        give_up_broker()
        if killed:
            logger.warning("The pool did not end in time and was killed; what it had in hand stays pending.")

    def start(self) -> None:
        """Called when the pool runs."""
        keep_a_process(self.pool)
        super().start()

    def _turn_until_shutdown(self, *arguments: Any) -> None:
        """Turn the event loop; at its end the pool is not closed yet, and replaces processes that end meanwhile."""
        try:
            self._celerys_loop(*arguments)
        except WorkerShutdown:
            self._drain()
            raise

    def stop(self) -> None:
        """Stop, where that has not been done: SIGTERM finds a worker that waits for its broker outside of its loop."""
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
        # A process may end by itself (--max-tasks-per-child) with a job of ours in its pipe.
        looking = self.timer.call_repeatedly(LOOK_WHILE_DRAINING, look_for_dead_processes, (self.pool,))
        turns = self.hub.create_loop()
        while self.reader.busy and time.monotonic() < self._drained_by:
            try:
                next(turns)
            except (*self.connection_errors, OSError, StopIteration):
                # The broker is lost; the pool is not.
                turns = self.hub.create_loop()
        looking.cancel()

    def ensure_connected(self, connection: Any) -> Any:
        """Connect, however long it takes; SIGTERM is obeyed meanwhile."""
        # A single attempt of kombu's at a frozen Redis takes 15 s, in which nothing else is heard.
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
        """Why a Redis broker does not answer; None where it does, or where the broker is another."""
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


def tags_in_work() -> set[str]:
    """The broker's tags of the tasks that the pool has begun."""
    return {request.message.delivery_tag for request in state.active_requests if isinstance(request, BrokerRequest)}


class ListedRequest(Protocol):
    """What Celery's inspection asks of a request; there is more, see StreamRequest."""

    id: str


def list_on_demand(requests: Callable[[], Collection[ListedRequest]]) -> None:
    """Show these requests to the remote commands that look for requests, and only while they look.

    Registering each entry as it comes and goes would cost more than all else that the main process does for it.
    """

    def listing(command: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            listed = requests()
            by_id = {request.id: request for request in listed}
            state.requests.update(by_id)
            state.active_requests.update(listed)
            try:
                return command(*arguments, **options)
            finally:
                state.active_requests.difference_update(listed)
                for task_id in by_id:
                    state.requests.pop(task_id, None)

        return run

    looking = {Panel.data[name] for name in LOOKING_COMMANDS}
    Panel.data.update({name: listing(command) for name, command in Panel.data.items() if command in looking})


def count_tasks(names: Sequence[str]) -> None:
    """Count tasks that came to an outcome, for `inspect stats`."""
    state.total_count.update(Counter(names))
    state.all_total_count[0] += len(names)


#: Processes that reading needs.
LEAST_PROCESSES = 1


def keep_a_process(pool: Any) -> None:
    """Let nothing shrink the pool to less than reading needs: neither a remote command nor Celery's autoscaler."""
    shrink = getattr(pool, "shrink", None)
    if shrink is None:
        return

    def shrink_to_what_is_needed(n: int = 1) -> None:
        if refusal := shrinking_refused(pool, n):
            # What the autoscaler takes for "not now".
            raise ValueError(refusal)
        shrink(n)

    pool.shrink = shrink_to_what_is_needed
    command = Panel.data["pool_shrink"]

    def pool_shrink(controlled: Any, n: int = 1, **options: Any) -> Any:
        try:
            return command(controlled, n=n, **options)
        except ValueError as error:
            # Celery would tell of it by a traceback: fewer than are needed, or no process is idle.
            logger.warning("pool_shrink: %s", error)
            return {"error": str(error)}

    Panel.data["pool_shrink"] = pool_shrink


def shrinking_refused(pool: Any, number: int) -> str | None:
    """Why the pool must not lose this number of processes; None where it may."""
    there: int = pool.num_processes
    if there - int(number) >= LEAST_PROCESSES:
        return None
    return (
        f"The pool stays as it is, with {there} process{'es' if there > 1 else ''}: {number} fewer would leave none to "
        "read the stream with."
    )


def log_file_of(pattern: str | None, node_name: str) -> str | None:
    """The file that the option --logfile names, with %n, %h, %I and so on replaced for this process."""
    return str(node_format(pattern, node_name)) if pattern else None


def stop_worker(exit_code: int) -> None:
    """End the worker at the event loop's next turn, as SIGTERM does."""
    state.should_stop = exit_code


def is_stopping(consumer: Any) -> bool:
    """Whether the whole worker stops, and not only its connection to the broker is made anew."""
    return bool(consumer.controller.blueprint.state != bootsteps.RUN)


def look_for_dead_processes(pool: Any) -> None:
    """Notice a killed pool process now; the pool itself looks only every 5 seconds."""
    pool.maintain_pool()


def _processes(pool: Any) -> list[Any]:
    """The processes of a prefork pool; other pools, and one that has ended, have none."""
    return list(getattr(getattr(pool, "_pool", None), "_pool", ()))


def concurrency(pool: Any) -> int:
    """How many functions the pool runs at one time; the solo pool one."""
    return int(pool.limit)


def process_ids(pool: Any) -> set[int]:
    """The process numbers of the pool's processes."""
    return {process.pid for process in _processes(pool)}


def kill_processes(pool: Any) -> bool:
    """Send SIGKILL to all processes of the pool; False where there are none."""
    processes = _processes(pool)
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    return bool(processes)


def widen_pipes(pool: Any) -> None:
    """Let a whole batch fit into the pipe to a pool process (Linux); else it goes through it in five pieces."""
    for process in _processes(pool):
        with suppress(AttributeError, OSError):
            fcntl.fcntl(process.inqW_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def submit(
    pool: Any,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    *,
    on_accepted: Callable[[int], None],
    on_result: Callable[[Any], None],
    on_lost: Callable[[str], None],
) -> bool:
    """Give a function to the worker's pool; False when the pool is closed.

    The callbacks run in whatever thread the pool uses; the first gets the number of the process. `function` has to
    catch every exception, because the thread pool tells of none: `on_lost` means that the process died.
    """
    submitted = pool.apply_async(
        function,
        arguments,
        {},
        accept_callback=lambda process_id, *_: on_accepted(process_id),
        callback=on_result,
        error_callback=lambda information: on_lost(repr(information.exception)),
    )
    # The solo pool has run the function by now, and returns nothing.
    return submitted is not None or getattr(pool, "_pool", None) is None
