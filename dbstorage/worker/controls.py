"""Remote control of the stream.

`celery -A dbstorage control cancel_consumer <stream>` lets a worker stand by, `add_consumer <stream>` ends that.
`control pause [reason]` and `control resume` pause the whole service, whichever worker is asked. Other commands of
Celery would answer OK and do nothing to the stream: here they refuse with a sentence.
"""

import logging
import threading
from typing import Any, Protocol

from celery.worker import control

from dbstorage.commands.registry import KINDS
from dbstorage.errors import RedisUnavailableError
from dbstorage.failed_tasks.trail import PAUSE, RESUME, record_alone
from dbstorage.operating.pause import NO_REASON, pause_service, read_pause, resume_service
from dbstorage.redis_access.client import connect_redis
from dbstorage.redis_access.explained import redis_errors_explained
from dbstorage.settings import Settings

logger = logging.getLogger(__name__)


class StandbyReader(Protocol):
    """What remote control needs of the reader: it can be told to stand by."""

    def set_aside(self, aside: bool) -> None:
        """Leave the stream to other workers, or stop doing so."""


#: The name in the list of operations: remote control does not say who sent a command.
REMOTE = "remote control"


def register_pause() -> None:
    """Add our own commands, also to `celery control`, which refuses to send a command that it does not know."""
    control.control_command(name="pause", args=[("reason", str)], signature="[reason]")(_pause)
    control.control_command(name="resume")(_resume)


def register_controls() -> None:
    """Put our commands in front of Celery's own."""
    if control.Panel.data["add_consumer"].__module__ == __name__:
        return
    add, cancel = control.Panel.data["add_consumer"], control.Panel.data["cancel_consumer"]
    shrink, rate, limit = (control.Panel.data[name] for name in ("pool_shrink", "rate_limit", "time_limit"))

    def add_consumer(state: Any, queue: str, exchange: str | None = None, *rest: Any, **options: Any) -> Any:
        if not _is_stream(state, queue):
            return add(state, queue, exchange, *rest, **options)
        _reader(state).set_aside(False)
        return control.ok(f"this worker takes its turn again to read the stream {queue}")

    def cancel_consumer(state: Any, queue: str, **options: Any) -> Any:
        if not _is_stream(state, queue):
            return cancel(state, queue, **options)
        _reader(state).set_aside(True)
        return control.ok(f"this worker stands by: it does not read the stream {queue} until add_consumer")

    def pool_shrink(state: Any, n: int = 1, **options: Any) -> Any:
        left = state.consumer.pool.num_processes - n
        if left < 1:
            sentence = f"{max(left, 0)} processes would be left; reading the stream needs one, two are better"
            logger.warning("pool_shrink is refused: %s.", sentence)
            return control.nok(sentence)
        return shrink(state, n, **options)

    def rate_limit(state: Any, task_name: str, rate_limit: Any, **options: Any) -> Any:
        if task_name in KINDS and rate_limit not in (0, "0", None, ""):
            return control.nok(
                f"{task_name} has no rate limit: entries of the stream run in order, in batches (BATCH_SIZE); "
                "`dbstorage pause` stops them all"
            )
        return rate(state, task_name, rate_limit, **options)

    def time_limit(state: Any, task_name: Any = None, hard: Any = None, soft: Any = None, **options: Any) -> Any:
        if task_name in KINDS and (hard is not None or soft is not None):
            return control.nok(
                f"{task_name} has no time limit of its own: a statement of a batch ends after some seconds by itself, "
                "and its entries are tried again"
            )
        return limit(state, task_name, hard, soft, **options)

    for command in (add_consumer, cancel_consumer, pool_shrink, rate_limit, time_limit):
        control.Panel.data[command.__name__] = command


def _pause(state: Any, reason: str = NO_REASON, **_: Any) -> Any:
    """Pause the service, for all of its workers."""
    settings: Settings = state.app.settings
    try:
        with connect_redis(settings.redis_url) as redis, redis_errors_explained():
            if read_pause(redis, settings) is not None:
                return control.ok("the service is paused already")
            pause = pause_service(redis, settings, reason, REMOTE)
    except RedisUnavailableError as error:
        return control.nok(str(error))
    _note(settings, PAUSE, pause.reason)
    return control.ok(f"the service is paused: {pause.reason}")


def _resume(state: Any, **_: Any) -> Any:
    """Let the service go on."""
    settings: Settings = state.app.settings
    try:
        with connect_redis(settings.redis_url) as redis, redis_errors_explained():
            ended = resume_service(redis, settings)
    except RedisUnavailableError as error:
        return control.nok(str(error))
    if ended is None:
        return control.ok("the service is not paused")
    _note(settings, RESUME, None)
    return control.ok("the service goes on")


def _note(settings: Settings, what: str, reason: str | None) -> None:
    """Record it in a thread: the event loop does not wait for the database."""
    note = {"settings": settings, "what": what, "who": REMOTE, "reason": reason}
    threading.Thread(target=record_alone, kwargs=note, name="dbstorage-trail", daemon=True).start()


def _is_stream(state: Any, queue: str) -> bool:
    settings: Settings = state.app.settings
    return queue == settings.command_stream and getattr(state.consumer, "reader", None) is not None


def _reader(state: Any) -> StandbyReader:
    reader: StandbyReader = state.consumer.reader
    return reader
