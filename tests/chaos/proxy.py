"""A TCP proxy in front of a server: a test can slow its link, drop all bytes or the replies only, cut and refuse it."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit
from weakref import WeakSet

from dbstorage.embedded.ports import LOOPBACK, choose_port

Value = TypeVar("Value")

CHUNK = 64 * 1024
#: Seconds of a full line that the proxy holds; beyond that the sender has to wait, as with a router's buffer.
LONGEST_QUEUE = 0.1


class _Line:
    """One direction of the link, shared by all connections."""

    def __init__(self) -> None:
        self._free_at = 0.0

    def transmit(self, size: int, now: float, bytes_per_second: float | None) -> float:
        """When the last of these bytes has left the line."""
        self._free_at = max(now, self._free_at) + (size / bytes_per_second if bytes_per_second else 0.0)
        return self._free_at


class _Connection:
    """A client's connection and the server's that belongs to it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter | None = None) -> None:
        self.client = client
        self.server = server
        self.drops_requests = False
        self.drops_replies = False
        #: How many bytes of the client it still takes before it is cut; None for any number.
        self.takes: int | None = None

    def sends(self, size: int) -> None:
        """The client sends so many bytes."""
        if self.takes is not None:
            self.takes -= size
            if self.takes < 0:
                self.reset()

    def reset(self) -> None:
        """Cut both halves at once, whatever is still on its way."""
        for writer in self._halves():
            # Closing without lingering sends a reset.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def close(self) -> None:
        """Close both halves behind what was written."""
        for writer in self._halves():
            writer.close()

    def _halves(self) -> list[asyncio.StreamWriter]:
        return [writer for writer in (self.client, self.server) if writer is not None and not writer.is_closing()]


class Proxy:
    """Forwards to a port of the loopback; `delay` (seconds, each way) and `bytes_per_second` may change at any time.

    It runs in a thread of its own, and its methods return when what they say is done.
    """

    def __init__(self, target_port: int, *, delay: float = 0.0, bytes_per_second: float | None = None) -> None:
        self.delay = delay
        self.bytes_per_second = bytes_per_second
        self.port = choose_port()
        self._target_port = target_port
        self._to_server, self._to_client = _Line(), _Line()
        self._connections: set[_Connection] = set()
        self._new_drop_requests = self._new_drop_replies = False
        self._new_takes: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: WeakSet[asyncio.StreamWriter] = WeakSet()
        self._listener: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="proxy")

    @classmethod
    def to(cls, url: str, *, delay: float = 0.0, bytes_per_second: float | None = None) -> "Proxy":
        """A proxy to the server that this URL names."""
        port = urlsplit(url).port
        assert port is not None, f"{url} names no port"
        return cls(port, delay=delay, bytes_per_second=bytes_per_second)

    def url(self, url: str) -> str:
        """The same URL, by way of the proxy."""
        parts = urlsplit(url)
        login, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{login}{at}{LOOPBACK}:{self.port}").geturl()

    @property
    def connections(self) -> int:
        """How many connections are open, black holes included."""
        return len(self._connections)

    # Faults

    def lead_to(self, port: int) -> None:
        """Lead new connections to another port of the loopback, as an address does that moves; old ones stay."""
        self._target_port = port

    def black_hole(self, *, replies_only: bool = False, new_too: bool = False) -> None:
        """Keep every connection open and forward nothing more; `replies_only`: the server still gets what is sent.

        New connections work, as behind a proxy whose server was replaced; with `new_too` they are black holes as well.
        """

        def drop() -> None:
            for connection in self._connections:
                connection.drops_replies = True
                connection.drops_requests = not replies_only
            if new_too:
                self._new_drop_replies, self._new_drop_requests = True, not replies_only

        self._call(drop)

    def mend(self) -> None:
        """Forward again, in connections that were black holes too; what was dropped stays lost."""

        def forward() -> None:
            self._new_drop_replies = self._new_drop_requests = False
            for connection in self._connections:
                connection.drops_replies = connection.drops_requests = False

        self._call(forward)
        if self._listener is None:
            self._run(self._listen())

    def cut(self) -> None:
        """Reset every connection; new ones work."""

        def reset() -> None:
            for connection in self._connections:
                connection.reset()

        self._call(reset)

    def cut_after(self, size: int | None) -> None:
        """Reset each new connection once its client has sent so many bytes, and those that are open; None: no more."""

        def limit() -> None:
            self._new_takes = size

        self._call(limit)
        self.cut()

    def refuse(self) -> None:
        """Reset every connection and refuse new ones, until `mend`."""

        def close() -> None:
            if self._listener is not None:
                self._listener.close()
                self._listener = None

        self._call(close)
        self.cut()

    # Its life

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._accepted, LOOPBACK, self.port, limit=CHUNK)

    async def _end(self) -> None:
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        # Also those that were closed and whose other side does not take what is left.
        for writer in self._writers:
            writer.transport.abort()
        # The loop has to turn before a transport counts as closed.
        await asyncio.sleep(0.01)

    async def _accepted(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        connection = _Connection(client)
        connection.drops_requests, connection.drops_replies = self._new_drop_requests, self._new_drop_replies
        connection.takes = self._new_takes
        self._connections.add(connection)
        self._writers.add(client)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            from_server, connection.server = await asyncio.open_connection(LOOPBACK, self._target_port, limit=CHUNK)
            self._writers.add(connection.server)
            async with asyncio.TaskGroup() as both:
                to_server = self._forward(
                    self._to_server, reader, connection.server, lambda: connection.drops_requests, connection.sends
                )
                to_client = self._forward(self._to_client, from_server, client, lambda: connection.drops_replies)
                both.create_task(to_server)
                both.create_task(to_client)
        except* (OSError, asyncio.CancelledError):
            pass  # one side is gone, so the other goes too
        finally:
            connection.close()
            self._connections.discard(connection)
            self._tasks.discard(task)

    async def _forward(
        self,
        line: _Line,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        drops: Callable[[], bool],
        came: Callable[[int], None] = lambda size: None,
    ) -> None:
        """Forward until the source ends; what it closes, we close behind what is still on its way."""
        on_its_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await on_its_way.get()
                await asyncio.sleep(due - self._loop.time())
                if drops():
                    continue
                if not data:
                    raise ConnectionResetError("the other side closed the connection")
                target.write(data)
                await target.drain()

        async def receive() -> None:
            data = b"?"
            while data:
                data = await source.read(CHUNK)
                came(len(data))
                now = self._loop.time()
                sent_at = line.transmit(len(data), now, self.bytes_per_second)
                on_its_way.put_nowait((sent_at + self.delay, data))
                await asyncio.sleep(sent_at - now - LONGEST_QUEUE)

        async with asyncio.TaskGroup() as both:
            both.create_task(deliver())
            both.create_task(receive())

    def _call(self, function: Callable[[], None]) -> None:
        async def call() -> None:
            function()

        self._run(call())

    def _run(self, coroutine: Any) -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)
