"""Celery's connections to a Redis broker: all can be given up at once; what is refused or malformed is one log line.

A worker that stops still has a dozen commands for its broker. With a frozen Redis each would wait until its timeout.
kombu documents none of the classes below as open to change: tests/worker/test_celery_internals.py names the versions.
"""

import errno
import logging
import os
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any
from weakref import WeakSet

from kombu.transport import TRANSPORT_ALIASES, virtual
from kombu.transport.redis import (
    REFRESH_BINDING,
    Channel,
    MultiChannelPoller,
    SentinelChannel,
    SentinelTransport,
    Transport,
)
from redis.connection import Connection, SSLConnection
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError
from redis.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection

from dbstorage.redis_access.client import ShortBeginning
from dbstorage.worker.unacknowledged_tasks import BrokerQoS, forget_what_was_left, something_is_left

logger = logging.getLogger(__name__)

_given_up = threading.Event()


class GivesUp(ShortBeginning):
    """A connection that fails at once when the broker is given up, even while it waits for a reply."""

    _sock: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        _connections.add(self)

    def _connect(self) -> Any:
        if _given_up.is_set():
            raise ConnectionRefusedError(errno.ECONNREFUSED, "the worker stops, and the broker does not answer")
        return super()._connect()  # type: ignore[misc]

    def hang_up(self) -> None:
        """End whatever waits on this connection."""
        if self._sock is not None:
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)


_connections: WeakSet[GivesUp] = WeakSet()


class BrokerConnection(GivesUp, Connection):
    """A connection to a server."""


class TLSBrokerConnection(GivesUp, SSLConnection):
    """The same with TLS."""


#: A full Redis refuses a command that needs room only as the first write of a script, so each script begins with one
#: that removes something. What kombu keeps of queues and tasks in hand is small, and without it no worker could start.
_ALSO_WHEN_FULL = "redis.call('SREM', KEYS[1], '')"
#: KEYS: the exchange's bindings, those that do not expire. ARGV: the binding.
BIND = f"""
{_ALSO_WHEN_FULL}
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('SADD', KEYS[2], ARGV[1])
"""


def _nothing() -> Collection[str]:
    return ()


class BrokerMessage(virtual.Message):
    """A message whose envelope may be anything."""

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        """Raises ValueError where Celery did not write the envelope."""
        try:
            super().__init__(payload, channel, **options)  # type: ignore[no-untyped-call]
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"not an envelope of Celery's: {error!r}") from error


class BrokerChannel(Channel):
    """Takes these connections instead of kombu's choice, and lets tasks outlive the connection that brought them.

    A message that was written by hand into a queue, and is none of Celery's, is dropped with a line in the log; kombu
    alone would end the worker.
    """

    QoS = BrokerQoS
    Message = BrokerMessage
    connection_class: Any = BrokerConnection
    connection_class_ssl: Any = TLSBrokerConnection
    #: Tags of the tasks that processes are working on.
    tags_in_work: Callable[[], Collection[str]] = staticmethod(_nothing)
    #: The channel that was made last. Tasks that came through earlier channels are acknowledged through it.
    newest: "BrokerChannel | None" = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]
        BrokerChannel.newest = self
        if something_is_left():
            self.qos.take_up_what_was_left()

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """A client; if this channel is closed, that of the newest channel. Raises ConnectionError without one."""
        if client is None and not self.is_open:
            newest = BrokerChannel.newest
            if newest is None or not newest.is_open:
                raise ConnectionError("the connection to the broker was given up")
            client = newest.client
        with super().conn_or_acquire(client) as client:
            yield client

    def close(self) -> None:
        """Close the channel, even if the broker does not answer.

        kombu alone would then leave its connections open, and Celery would fail when it asks the lost connection for
        its error classes.
        """
        try:
            super().close()  # type: ignore[no-untyped-call]
        except (OSError, RedisError):
            self._disconnect_pools()  # type: ignore[no-untyped-call]
            self._close_clients()  # type: ignore[no-untyped-call]
            virtual.Channel.close(self)  # type: ignore[no-untyped-call]

    def _brpop_read(self, **options: Any) -> Any:
        with _dropping_malformed("queue of tasks"):
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]

    def _receive_one(self, client: Any) -> Any:
        with _dropping_malformed("channel of remote control"):
            return super()._receive_one(client)  # type: ignore[no-untyped-call]

    @property
    def is_open(self) -> bool:
        """Whether the channel has its connection."""
        # kombu may close a channel again whose connection has forgotten where its broker is.
        return not self.closed and self.connection is not None and self.connection.client is not None

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        try:
            super()._queue_bind(exchange, routing_key, pattern, queue)  # type: ignore[no-untyped-call]
        except OutOfMemoryError:
            tables = (self.keyprefix_queue, self.keyprefix_binding_permanent)
            keys = (self.global_keyprefix + table % (exchange,) for table in tables)
            with self.conn_or_acquire() as client:
                client.eval(BIND, 2, *keys, self.sep.join([routing_key or "", pattern or "", queue or ""]))

    @cached_property
    def _refresh_binding(self) -> Any:
        return self._create_client().register_script(_ALSO_WHEN_FULL + REFRESH_BINDING)  # type: ignore[no-untyped-call]

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        """How to connect: for a Unix socket kombu takes a class of its own."""
        parameters: dict[str, Any] = super()._connparams(asynchronous)  # type: ignore[no-untyped-call]
        kind = parameters["connection_class"]
        if not issubclass(kind, GivesUp):
            parameters["connection_class"] = type(kind.__name__, (GivesUp, kind), {})
        return parameters

    def maybe_refresh_binding_expiry(self) -> None:
        """Called every second: keep the tables of queues that expire, where the broker allows it."""
        try:
            super().maybe_refresh_binding_expiry()  # type: ignore[no-untyped-call]
        except ResponseError as error:
            logger.debug("The broker refuses to keep its bindings, which is tried again: %s", error)


@contextmanager
def _dropping_malformed(source: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, RecursionError) as error:
        # Without what stands in it, which may be about people. Redis does not have it any more.
        kind = type(error).__name__
        logger.error("A message in the broker's %s is none of Celery's and was dropped (%s).", source, kind)


class BrokerPoller(MultiChannelPoller):
    """Keeps the event loop going while the broker is away, and logs no traceback every five seconds if it is full."""

    _refused = False

    def on_poll_start(self) -> None:
        """Called at every turn: connect what is to be watched, unless the broker was given up."""
        if not _given_up.is_set():
            super().on_poll_start()  # type: ignore[no-untyped-call]

    def on_poll_init(self, poller: Any) -> None:
        """Called when the event loop is made ready: tasks of lost workers are put back for the first time."""
        with self._refusal_told():
            super().on_poll_init(poller)  # type: ignore[no-untyped-call]

    def maybe_restore_messages(self) -> None:
        """Called by a timer: put tasks of lost workers back into their queue, where the broker allows it."""
        with self._refusal_told():
            super().maybe_restore_messages()  # type: ignore[no-untyped-call]

    @contextmanager
    def _refusal_told(self) -> Iterator[None]:
        try:
            yield
        except ResponseError as error:
            if not self._refused:
                logger.warning("The broker refuses to give back the tasks of lost workers; tried again: %s", error)
            self._refused = True
        else:
            self._refused = False


class BrokerTransport(Transport):
    """Takes these channels."""

    Channel = BrokerChannel

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]
        self.cycle: Any = BrokerPoller()  # type: ignore[no-untyped-call]


class SentinelBrokerConnection(GivesUp, SentinelManagedConnection):
    """The same to the master that the sentinels name."""


class TLSSentinelBrokerConnection(GivesUp, SentinelManagedSSLConnection):
    """The same with TLS."""


class SentinelBrokerChannel(SentinelChannel, BrokerChannel):
    """Takes these connections."""

    connection_class: Any = SentinelBrokerConnection
    connection_class_ssl: Any = TLSSentinelBrokerConnection


class SentinelBrokerTransport(SentinelTransport, BrokerTransport):
    """Takes these channels."""

    Channel = SentinelBrokerChannel


def register_broker_transport() -> None:
    """Let kombu take these transports for Redis, also behind a Unix socket or sentinels."""
    os.register_at_fork(after_in_child=forget_what_was_left)
    module = BrokerTransport.__module__
    name, sentinel = (f"{module}:{each.__qualname__}" for each in (BrokerTransport, SentinelBrokerTransport))
    TRANSPORT_ALIASES.update({"redis": name, "rediss": name, "redis+socket": name, "sentinel": sentinel})


def give_up_broker() -> None:
    """Let every command for the broker fail from now on, for the rest of this process's life."""
    _given_up.set()
    for connection in list(_connections):
        connection.hang_up()


def leave_other_masters(address: tuple[str, int]) -> None:
    """Hang up what is connected to a server that the sentinels do not call the master any more."""
    for connection in list(_connections):
        if isinstance(connection, SentinelManagedConnection) and (connection.host, connection.port) != address:
            connection.hang_up()
