"""How this service connects to Redis: RESP2, a short handshake, short timeouts, and no hidden retries."""

import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry
from redis.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from dbstorage.urls.redis_url import SentinelAddress, is_sentinel, parse_sentinel_url

#: Seconds that a command waits for Redis, unless the caller says otherwise.
REDIS_TIMEOUT = 2.0
#: Seconds that one sentinel is waited for: the next one knows as much.
SENTINEL_TIMEOUT = 0.5
#: Seconds for which the last answer of the sentinels is trusted. After a planned fail-over the old master takes writes
#: for ten more seconds, and forgets them.
MASTER_SECONDS = 0.5
#: The same while no sentinel answers: each time takes as long as it takes to find that out.
SILENT_SECONDS = 5.0
#: What redis-py says of a sentinel that did not answer: its own object in Python's words, and the kind of error.
_UNANSWERED = re.compile(
    r"<redis\.client\.Redis\(.*?\bhost=([^,]+),port=(\d+)[^<>]*(?:<[^<>]*>[^<>]*)*>\)>\)> - ([^,]*)"
)


#: For which sentinels, and which service -> the master that they named last to this process.
_named_last: dict[tuple[tuple[tuple[str, int], ...], str], tuple[str, int]] = {}


class NoSentinelError(MasterNotFoundError):
    """Raised where no sentinel answers and none has named the master to this process before; `silence` names them."""

    def __init__(self, sentence: str, silence: str) -> None:
        super().__init__(sentence)
        self.silence = silence


class PlainSentinels(Sentinel):
    """Sentinels that say in one sentence that none of them answers.

    While none of them does, the master that they named last stays it: nobody can promote another one, and a master that
    was demoted refuses what is written to it.
    """

    def __init__(self, places: Sequence[tuple[str, int]], **options: Any) -> None:
        super().__init__(list(places), **options)  # type: ignore[no-untyped-call]
        self._places = tuple(places)
        #: What does not answer, where that is all of them; else None.
        self.silence: str | None = None

    def discover_master(self, service_name: str) -> Any:
        """Host and port of the master."""
        known = (self._places, service_name)
        try:
            _named_last[known] = found = super().discover_master(service_name)  # type: ignore[no-untyped-call]
        except MasterNotFoundError as error:
            sentence, silent = without_objects(error)
            if silent < len(self._places):
                raise MasterNotFoundError(sentence) from None
            silence = sentence.partition(": ")[2]
            if known not in _named_last:
                raise NoSentinelError(sentence, silence) from None
            self.silence = silence
            return _named_last[known]
        self.silence = None
        return found


def without_objects(error: Exception) -> tuple[str, int]:
    """The sentence of an error of sentinels, addresses in place of redis-py's objects, and how many did not answer."""

    def plain(found: re.Match[str]) -> str:
        host, port, kind = found.groups()
        refused = "AuthenticationError" in kind
        return f"{host}:{port} {'refuses our sentinel_password' if refused else 'does not answer'}"

    sentence, silent = _UNANSWERED.subn(plain, str(error))
    return (sentence.replace(" : ", ": ", 1) if silent else sentence), silent


class MasterPool(SentinelConnectionPool):
    """Connections to the server that is the master by now: sentinels are asked for old connections too."""

    _asked_at = -MASTER_SECONDS

    def get_connection(self, *_arguments: Any, **_options: Any) -> Any:
        """A connection; those to an earlier master are closed."""
        trusted = MASTER_SECONDS if self.sentinel_manager.silence is None else SILENT_SECONDS
        if time.monotonic() - self._asked_at > trusted:
            self.proxy.get_master_address()  # type: ignore[no-untyped-call]
            self._asked_at = time.monotonic()
        return super().get_connection()


class ShortBeginning:
    """Shortens the handshake of redis-py to the password and the database.

    The name and version of the library (for CLIENT LIST) and a wish to hear of maintenance are a round trip each, and a
    worker that stops makes four connections: over a long link it could not end in time.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for left_out in ("driver_info", "lib_name", "lib_version", "maint_notifications_config"):
            # Not every version of redis-py knows all of them.
            setattr(self, left_out, None)


class ShortConnection(ShortBeginning, Connection):
    """A connection with the short handshake."""


class ShortTLSConnection(ShortBeginning, SSLConnection):
    """The same with TLS."""


class ShortSocketConnection(ShortBeginning, UnixDomainSocketConnection):
    """The same through a Unix socket."""


class ShortMasterConnection(ShortBeginning, SentinelManagedConnection):
    """The same to the master that sentinels name."""


class ShortTLSMasterConnection(ShortBeginning, SentinelManagedSSLConnection):
    """The same with TLS."""


SHORT: dict[Any, Any] = {
    Connection: ShortConnection,
    SSLConnection: ShortTLSConnection,
    UnixDomainSocketConnection: ShortSocketConnection,
    SentinelManagedConnection: ShortMasterConnection,
    SentinelManagedSSLConnection: ShortTLSMasterConnection,
}


def connect_redis(url: str, timeout: float = REDIS_TIMEOUT) -> Redis:
    """A client that waits at most `timeout` seconds. It never retries by itself: an answer could be written twice."""
    return Redis.from_pool(connection_pool(url, timeout))


def connection_pool(url: str, timeout: float) -> ConnectionPool:
    """A pool that makes single connections, for use without a client."""
    pool = (
        _master_pool(parse_sentinel_url(url), timeout)
        if is_sentinel(url)
        else ConnectionPool.from_url(url, **_options(url, timeout))
    )
    pool.connection_class = SHORT[pool.connection_class]
    return pool


class Master(NamedTuple):
    """Where the master is; `silence` says which sentinels do not answer, if none does: then they named it before."""

    address: tuple[str, int]
    silence: str | None = None


def find_master(url: str) -> Master:
    """The master, by the sentinels of the URL; raises RedisError where none of them knows."""
    address = parse_sentinel_url(url)
    sentinels = _sentinels(address)
    host, port = sentinels.discover_master(address.service)
    return Master((host, int(port)), sentinels.silence)


def silence_of_sentinels(redis: Redis) -> str | None:
    """Which sentinels did not answer this client, where that is all of them; None where it asks none."""
    manager = getattr(redis.connection_pool, "sentinel_manager", None)
    return manager.silence if isinstance(manager, PlainSentinels) else None


class SentinelAnswer(NamedTuple):
    """The address that a sentinel calls the master, or a sentence, without its full stop, on why there is none."""

    master: str | None
    instead: str = ""


def ask_each_sentinel(url: str) -> dict[str, SentinelAnswer]:
    """What each sentinel of the URL says, by its own address."""
    address = parse_sentinel_url(url)
    told: dict[str, SentinelAnswer] = {}
    for place in address.hosts:
        name = "{}:{}".format(*place)
        sentinel = _sentinels(address._replace(hosts=(place,)))
        try:
            host, port = sentinel.discover_master(address.service)
        except NoSentinelError as error:
            told[name] = SentinelAnswer(None, error.silence)
        except (RedisError, OSError):
            told[name] = SentinelAnswer(None, f"{name} knows no {address.service}")
        else:
            silence = sentinel.silence
            told[name] = SentinelAnswer(f"{host}:{port}") if silence is None else SentinelAnswer(None, silence)
    return told


def _master_pool(address: SentinelAddress, timeout: float) -> MasterPool:
    options: dict[str, Any] = _options("redis://", timeout)
    tls = {"ssl": True, **address.tls} if address.tls is not None else {}
    return MasterPool(  # type: ignore[no-untyped-call]
        address.service,
        _sentinels(address),
        db=address.database,
        username=address.username,
        password=address.password,
        **options,
        **tls,
    )


def _sentinels(address: SentinelAddress) -> PlainSentinels:
    # Nothing of what the server is asked with holds for the sentinels: login, limits and TLS are told again.
    asking: dict[str, Any] = {
        **_options("redis://", SENTINEL_TIMEOUT),
        "username": address.sentinel_username,
        "password": address.sentinel_password,
        **({"ssl": True, **address.tls} if address.tls is not None else {}),
    }
    return PlainSentinels(address.hosts, sentinel_kwargs=asking)


def redis_error(url: str, timeout: float) -> Exception | None:
    """Why Redis does not answer within `timeout` seconds; None where it does, even with a refusal."""
    try:
        with connect_redis(url, timeout) as redis:
            redis.ping()
    except ResponseError:
        return None
    except (RedisError, OSError) as error:
        return error
    return None


def _options(url: str, timeout: float) -> dict[str, Any]:
    options = {
        "protocol": 2,
        "socket_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
    }
    if url.startswith("unix://"):
        return options
    return {**options, "socket_connect_timeout": timeout, "socket_keepalive": True}
