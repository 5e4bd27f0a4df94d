"""A Redis connection that Celery's event loop reads: commands are sent at once, replies come to callbacks."""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from redis.exceptions import RedisError, ResponseError

from dbstorage.redis_connection import connection_pool

logger = logging.getLogger(__name__)

#: Seconds that the event loop is held up at most by connecting, or by a reply that stops halfway.
SOCKET_TIMEOUT = 1.5

Reply = Any
ReplyCallback = Callable[[Reply], None]


class Hub(Protocol):
    """What the reader uses of kombu's event loop."""

    def add_reader(self, fds: int, callback: Callable[..., None], *args: Any) -> None:
        """Call when the file descriptor is readable."""

    def remove(self, fd: int) -> None:
        """Watch it no longer."""

    def call_soon(self, callback: Callable[..., None], *args: Any) -> Any:
        """Call at the loop's next turn."""


class HubConnection:
    """One connection; an error closes it and calls `on_lost` once, nothing is raised into the event loop."""

    def __init__(self, url: str, hub: Hub, on_lost: Callable[[str], None]) -> None:
        self._pool = connection_pool(url, SOCKET_TIMEOUT)
        self._hub = hub
        self._on_lost = on_lost
        # redis-py types only a part of its connections.
        self._connection: Any = None
        # Remembered, because redis-py forgets the socket when it finds the connection broken.
        self._file_descriptor = -1
        self._expected: deque[ReplyCallback] = deque()
        #: When the reply that is being handled began to come in, by time.perf_counter().
        self.reply_began = 0.0

    def connect(self) -> None:
        """Connect and let the event loop watch the socket; raises RedisError or OSError."""
        connection: Any = self._pool.make_connection()
        connection.connect()
        self._connection = connection
        self._file_descriptor = connection._sock.fileno()
        self._hub.add_reader(self._file_descriptor, self._on_readable)

    @property
    def connected(self) -> bool:
        """Whether commands can be sent."""
        return self._connection is not None

    @property
    def waiting(self) -> int:
        """How many replies are still to come."""
        return len(self._expected)

    def send(self, callback: ReplyCallback, *command: str | bytes | int) -> None:
        """Send a command; `callback` gets its reply, a ResponseError where Redis refused it."""
        if self._connection is None:
            return
        try:
            self._connection.send_command(*command, check_health=False)
        except (RedisError, OSError) as error:
            self._lose(str(error))
        else:
            self._expected.append(callback)

    def close(self) -> None:
        """Close without a word to `on_lost`; replies that were still to come never do."""
        connection, self._connection = self._connection, None
        self._expected.clear()
        if self._file_descriptor >= 0:
            self._hub.remove(self._file_descriptor)
            self._file_descriptor = -1
        if connection is not None:
            # Shuts the socket down too: a pool process forked meanwhile holds a copy of it.
            connection.disconnect()

    def _on_readable(self) -> None:
        while self._connection is not None:
            try:
                if not self._expected:
                    # Nothing was asked, so this is the end of the connection.
                    raise ConnectionResetError("Redis closed the connection")
                self.reply_began = time.perf_counter()
                reply = self._connection.read_response(disable_decoding=True)
            except ResponseError as error:
                reply = error
            except (RedisError, OSError) as error:
                self._lose(str(error))
                return
            callback = self._expected.popleft()
            try:
                callback(reply)
            except Exception:
                # An exception would end the worker, or make Celery think that its broker is gone.
                logger.exception("A reply from Redis could not be handled.")
            try:
                if self._connection is None or not self._expected or not self._connection.can_read(timeout=0):
                    return
            except (RedisError, OSError) as error:
                self._lose(str(error))
                return

    def _lose(self, reason: str) -> None:
        self.close()
        self._on_lost(reason)
