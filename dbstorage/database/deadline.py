"""The client's own limit on how long PostgreSQL may be silent.

A proxy between us and the server (PgBouncer, a cloud's load balancer, a mesh) may keep a connection open whose server
is gone: the statement timeout runs in that server, and TCP's own limits see a proxy that is well. So the driver waits
here, where every byte that moves gives the server its time again.
"""

import select
from typing import Any, ClassVar

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, set_wait_callback

#: Seconds beyond the statement timeout in which the server's own word, that it cancelled a statement, has to arrive.
GRACE_SECONDS = 1.0

#: PostgreSQL's port where a URL names none.
DEFAULT_PORT = 5432


class NoReplyError(psycopg2.OperationalError):
    """Raised when the server at `place` (host and port) was silent for too long; its connection is closed then."""

    def __init__(self, seconds: float, place: tuple[str | None, int | None]) -> None:
        super().__init__(f"no reply from the server within {seconds:g} s")
        self.place = place


class LimitedConnection(psycopg2.extensions.connection):
    """A connection that is given up when the server is silent for too long; limits in seconds, None is no limit."""

    connect_seconds: ClassVar[float | None] = None
    reply_seconds: ClassVar[float | None] = None
    #: Instead of `reply_seconds`, for as long as it is set.
    patience_seconds: float | None = None
    _connected = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._connected = True

    @property
    def silence_seconds(self) -> float | None:
        """How long the server may be silent at the moment."""
        if not self._connected:
            return self.connect_seconds
        return self.reply_seconds if self.patience_seconds is None else self.patience_seconds


def limited(connect_seconds: float | None, statement_seconds: float | None) -> type[LimitedConnection]:
    """The class of connections with these limits, for psycopg2's `connection_factory`.

    `statement_seconds` is the server's own limit on a statement; None where there is none, nor is there one here then.
    """
    set_wait_callback(_wait)
    limits = {
        "connect_seconds": connect_seconds,
        "reply_seconds": None if statement_seconds is None else statement_seconds + GRACE_SECONDS,
    }
    return type(LimitedConnection.__name__, (LimitedConnection,), limits)


def connect(**parameters: Any) -> psycopg2.extensions.connection:
    """Connect as psycopg2 does, and of several hosts pass by one that is silent.

    With a wait callback libpq leaves its `connect_timeout` to us, and with it the step to the next host.
    """
    hosts = str(parameters.get("host") or "").split(",")
    ports = [int(port or DEFAULT_PORT) for port in str(parameters.get("port") or "").split(",")]
    places = list(zip(hosts, ports if len(ports) == len(hosts) else ports[:1] * len(hosts), strict=True))
    while True:
        try:
            connection: psycopg2.extensions.connection = psycopg2.connect(**parameters)
        except NoReplyError as error:
            if len(places) == 1 or error.place not in places:
                raise
            places.remove(error.place)
            parameters["host"] = ",".join(host for host, _ in places)
            parameters["port"] = ",".join(str(port) for _, port in places)
        else:
            return connection


def _wait(connection: Any) -> None:
    """Called by psycopg2, for every connection of this process, instead of waiting itself."""
    seconds: float | None = getattr(connection, "silence_seconds", None)
    # Not select(2): that fails for a process with more than a thousand descriptors.
    poll = select.poll()
    while (state := connection.poll()) != POLL_OK:
        if state not in (POLL_READ, POLL_WRITE):
            raise psycopg2.OperationalError(f"unexpected state {state} of the connection")
        descriptor = connection.fileno()
        poll.register(descriptor, select.POLLIN if state == POLL_READ else select.POLLOUT)
        if not poll.poll(None if seconds is None else seconds * 1000) and seconds is not None:
            # The driver closes the connection of a callback that raises.
            raise NoReplyError(seconds, (connection.info.host, connection.info.port))
        poll.unregister(descriptor)
