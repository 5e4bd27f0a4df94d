"""A worker's link with Redis: one connection that waits for entries, one for everything else, both made anew after
every loss.

Nothing here blocks the event loop longer than a socket timeout, and nothing raises into it.
"""

import logging
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

from redis.exceptions import RedisError

from dbstorage.errors import RedisUnavailableError
from dbstorage.reader.connection import Hub, HubConnection
from dbstorage.reader.group import Command

logger = logging.getLogger(__name__)

#: How long a read waits for new entries.
BLOCK_MILLISECONDS = 2_000
#: A reply this late means a dead connection or a frozen Redis.
REPLY_SECONDS = 5.0
#: A worker that stops does not wait for a Redis that has been silent for this long.
LATE_SECONDS = 0.5
LONGEST_RECONNECT_PAUSE = 2.0


class Timer(Protocol):
    """What the reader uses of Celery's timer."""

    def call_after(self, seconds: float, function: Callable[..., None]) -> Any:
        """Call once."""


class RedisLink(ABC):
    """Connects, watches, and connects again; a subclass says what to do with it."""

    def __init__(self, redis_url: str, hub: Hub, timer: Timer) -> None:
        self._timer = timer
        self._reading = HubConnection(redis_url, hub, self.lose)
        self.control = HubConnection(redis_url, hub, self.lose)
        self._closed = True
        self._lost_since: float | None = None
        self._pause = 0.0
        self._read_asked: float | None = None
        self._control_asked = 0.0
        self._told_refused: set[str | bytes | int] = set()
        # Timers of an earlier connection find another number here and do nothing.
        self._generation = 0

    @abstractmethod
    def on_connected(self) -> None:
        """Called when both connections are there."""

    @abstractmethod
    def on_closed(self, *, lost: bool) -> None:
        """Called when they are gone; after a loss they come back by themselves."""

    def open(self) -> None:
        """Begin to connect, at once and then for as long as it takes."""
        self._closed = False
        self._generation += 1
        self.after(0, self._connect)
        self.after(1.0, self._watch)

    def close(self) -> None:
        """Leave the event loop; what is pending stays with this consumer."""
        self._closed = True
        self._disconnect()
        self.on_closed(lost=False)

    @property
    def is_reading(self) -> bool:
        """Whether entries are asked for, and will be delivered when there are any."""
        return self._read_asked is not None

    @property
    def reply_began(self) -> float:
        """When the entries that are delivered now began to come in, by time.perf_counter()."""
        return self._reading.reply_began

    @property
    def answers(self) -> bool:
        """Whether Redis is there and has not let a command wait."""
        waited = time.monotonic() - self._control_asked if self.control.waiting else 0.0
        return self.control.connected and waited < LATE_SECONDS

    def lose(self, reason: str) -> None:
        """Give the connections up and make new ones, with growing pauses; told once until `works`."""
        if self._closed:
            return
        if self._lost_since is None:
            self._lost_since = time.monotonic()
            logger.warning("Reading is interrupted: %s.", reason.rstrip("."))
        self._disconnect()
        self.on_closed(lost=True)
        self._pause = min(LONGEST_RECONNECT_PAUSE, self._pause * 2 or 0.1)
        self.after(random.uniform(self._pause / 2, self._pause), self._connect)
        self.after(1.0, self._watch)

    def works(self) -> None:
        """A read was answered: whatever was wrong is over."""
        if self._lost_since is not None:
            logger.warning("Reading again after %.1f s.", time.monotonic() - self._lost_since)
        self._lost_since = None
        self._pause = 0.0

    def read(self, then: Callable[[Any], None], command: Command) -> None:
        """Ask for entries; `then` gets the reply."""

        def reply_came(reply: Any) -> None:
            self._read_asked = None
            try:
                then(reply)
            except RedisUnavailableError as error:
                # The group or the stream was deleted, or something else stands under its name.
                self.lose(str(error))

        self._read_asked = time.monotonic()
        self._reading.send(reply_came, *command)

    def ask(self, then: Callable[[Any], None], command: Command, *, needed: bool = True) -> None:
        """Send a command beside the reading; `then` gets its reply.

        Where `then` finds that a `needed` command was refused, the link is made anew; any other is told of once.
        """

        def reply_came(reply: Any) -> None:
            # What is still to come counts from here.
            self._control_asked = time.monotonic()
            try:
                then(reply)
            except RedisUnavailableError as error:
                if needed:
                    self.lose(str(error))
                elif command[0] not in self._told_refused:
                    self._told_refused.add(command[0])
                    logger.warning("Redis refuses %s, so some housekeeping is left undone: %s", command[0], error)

        if not self.control.waiting:
            self._control_asked = time.monotonic()
        self.control.send(reply_came, *command)

    def after(self, seconds: float, function: Callable[..., None]) -> None:
        """Call later, unless the connections are lost or closed by then."""
        generation = self._generation

        def call() -> None:
            if generation == self._generation:
                function()

        self._timer.call_after(seconds, call)

    def _connect(self) -> None:
        try:
            self._reading.connect()
            self.control.connect()
        except (RedisError, OSError) as error:
            self.lose(str(error))
            return
        self.on_connected()

    def _disconnect(self) -> None:
        self._generation += 1
        self._read_asked = None
        self._reading.close()
        self.control.close()

    def _watch(self) -> None:
        """Drop connections that do not answer in time."""
        now = time.monotonic()
        read_late = self._read_asked is not None and now - self._read_asked > BLOCK_MILLISECONDS / 1000 + REPLY_SECONDS
        control_late = self.control.waiting and now - self._control_asked > REPLY_SECONDS
        if read_late or control_late:
            self.lose("it does not answer")
        else:
            self.after(1.0, self._watch)
