"""A Redis connection that Celery's event loop reads: commands are sent at once, replies come to callbacks.

Bytes are taken as they come, so a large reply on a slow line never blocks the event loop. A reply that is larger than
the worker may hold in memory is given up before all of it has arrived.
"""

import logging
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import hiredis
from redis.exceptions import RedisError, ResponseError

from dbstorage.redis_access.client import connection_pool

logger = logging.getLogger(__name__)

#: Socket timeout in seconds: how long connecting, or sending a command, may block the event loop.
SOCKET_TIMEOUT = 1.5
#: Bytes taken from the socket at one time, and at one turn of the event loop.
CHUNK_BYTES = 128 * 1024
TURN_BYTES = 2 * 1024 * 1024

Reply = Any
ReplyCallback = Callable[[Reply], None]


class Hub(Protocol):
    """What the reader uses of kombu's event loop."""

    def add_reader(self, fds: int, callback: Callable[..., None], *args: Any) -> None:
        """Call when the file descriptor is readable."""

    def remove(self, fd: int) -> None:
        """Stop watching the file descriptor."""

    def call_soon(self, callback: Callable[..., None], *args: Any) -> Any:
        """Call at the loop's next turn."""


class HubConnection:
    """One connection. An error closes it and calls `on_lost` once; nothing is raised into the event loop."""

    def __init__(self, url: str, hub: Hub, on_lost: Callable[[str], None]) -> None:
        self._pool = connection_pool(url, SOCKET_TIMEOUT)
        self._hub = hub
        self._on_lost = on_lost
        # redis-py types only a part of its connections.
        self._connection: Any = None
        self._socket: Any = None
        self._parser = _new_parser()
        # Remembered, because a socket that was closed has none.
        self._file_descriptor = -1
        self._expected: deque[tuple[ReplyCallback, int | None, Callable[[], None] | None]] = deque()
        #: Bytes of the reply that is coming in.
        self._received = 0
        self._on_ended: Callable[[], None] | None = None
        #: When bytes last came in, or a command was sent while nothing was awaited; monotonic seconds.
        self.heard_at = 0.0
        #: When the reply that is being handled began to come in, by time.perf_counter().
        self.reply_began = 0.0

    def connect(self) -> None:
        """Connect and let the event loop watch the socket; raises RedisError or OSError."""
        connection: Any = self._pool.make_connection()
        try:
            connection.connect()
        except BaseException:
            connection.disconnect()
            raise
        self._connection = connection
        self._socket = connection._sock
        self._parser = _new_parser()
        self._received = 0
        self._file_descriptor = self._socket.fileno()
        self._hub.add_reader(self._file_descriptor, self._on_readable)

    @property
    def connected(self) -> bool:
        """Whether commands can be sent."""
        return self._connection is not None

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port of the server, None without one."""
        return (self._connection.host, self._connection.port) if self._connection is not None else None

    @property
    def waiting(self) -> int:
        """How many replies are still to come."""
        return len(self._expected)

    @property
    def receiving(self) -> bool:
        """Whether a part of a reply has come in."""
        return self._received > 0

    @property
    def silent_for(self) -> float:
        """Seconds since an awaited reply was asked for, or its last bytes came in; 0 where none is awaited."""
        return time.monotonic() - self.heard_at if self._expected else 0.0

    def send(
        self,
        callback: ReplyCallback,
        *command: str | bytes | int,
        most_bytes: int | None = None,
        on_too_large: Callable[[], None] | None = None,
    ) -> None:
        """Send a command; `callback` gets its reply, a ResponseError where Redis refused it.

        A reply of more than `most_bytes` is not waited for: `on_too_large` is called, and the connection is lost.
        """
        if self._connection is None:
            return
        if not self._expected:
            self.heard_at = time.monotonic()
        try:
            self._socket.settimeout(SOCKET_TIMEOUT)
            self._connection.send_packed_command(self._connection.pack_command(*command), check_health=False)
        except (RedisError, OSError) as error:
            self._lose(str(error))
        else:
            self._expected.append((callback, most_bytes, on_too_large))

    def end(self, on_ended: Callable[[], None]) -> None:
        """Close our side. Call `on_ended` once Redis has closed its own: from then on no read of ours waits there."""
        if self._connection is None:
            on_ended()
            return
        self._on_ended = on_ended
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._ended()

    def _ended(self) -> None:
        on_ended, self._on_ended = self._on_ended, None
        self.close()
        if on_ended is not None:
            on_ended()

    def close(self) -> None:
        """Close without calling `on_lost`. Callbacks of replies that are still awaited are never called."""
        connection, self._connection = self._connection, None
        self._socket = self._on_ended = None
        self._expected.clear()
        if self._file_descriptor >= 0:
            self._hub.remove(self._file_descriptor)
            self._file_descriptor = -1
        if connection is not None:
            # Shuts the socket down too: a pool process forked meanwhile holds a copy of it.
            connection.disconnect()

    def _on_readable(self) -> None:
        taken = 0
        while self._connection is not None:
            try:
                chunk = self._take()
            except (RedisError, OSError) as error:
                if self._on_ended is not None:
                    self._ended()
                else:
                    self._lose(str(error) or type(error).__name__)
                return
            if chunk is None:
                return
            if not self._received:
                self.reply_began = time.perf_counter()
            taken += len(chunk)
            self._received += len(chunk)
            self.heard_at = time.monotonic()
            self._parser.feed(chunk)
            self._hand_out()
            # The rest is read at the loop's next turn; what TLS has buffered would not make the socket readable again.
            if taken >= TURN_BYTES and not self._undecrypted():
                return

    def _take(self) -> bytes | None:
        """Receive what has arrived; None where nothing has. Raises OSError where the server closed the connection."""
        self._socket.setblocking(False)
        try:
            chunk: bytes = self._socket.recv(CHUNK_BYTES)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        if not chunk:
            raise ConnectionResetError("Redis closed the connection")
        return chunk

    def _undecrypted(self) -> bool:
        return isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0

    def _hand_out(self) -> None:
        """Give each complete reply to the callback that waits for it."""
        while self._connection is not None:
            parser = self._parser
            try:
                reply = parser.gets()
            except hiredis.ProtocolError as error:
                self._lose(str(error))
                return
            if reply is False:
                self._give_up_what_is_too_large()
                return
            if not self._expected:
                self._lose(f"Redis sent what nobody asked for: {reply!r:.100}")
                return
            callback, _, _ = self._expected.popleft()
            self._received = 0
            try:
                callback(reply)
            except Exception:
                # An exception would end the worker, or make Celery think that its broker is gone.
                logger.exception("A reply from Redis could not be handled.")

    def _give_up_what_is_too_large(self) -> None:
        if not self._expected:
            return
        _, most_bytes, on_too_large = self._expected[0]
        if most_bytes is not None and self._received > most_bytes:
            if on_too_large is not None:
                on_too_large()
            self._lose("more entries came at once than are taken in")

    def _lose(self, reason: str) -> None:
        self.close()
        self._on_lost(reason)


def _new_parser() -> Any:
    return hiredis.Reader(replyError=ResponseError)
