"""How this service connects to Redis: RESP2, a short beginning, an early end to waiting, and no retry unseen."""

from typing import Any

from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

#: Seconds that a command waits for Redis where nothing else is said; pausing is the event loop's business.
REDIS_TIMEOUT = 2.0


class ShortBeginning:
    """Leaves out what redis-py tells and asks when it has connected, beside the password and the database.

    The name and version of the library (for CLIENT LIST) and a wish to hear of maintenance are a round trip each, and a
    worker that stops makes four connections: over a long link it could not end in time.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for left_out in ("driver_info", "lib_name", "lib_version", "maint_notifications_config"):
            # Not every version of redis-py knows all of them.
            setattr(self, left_out, None)


class ShortConnection(ShortBeginning, Connection):
    """A connection without it."""


class ShortTLSConnection(ShortBeginning, SSLConnection):
    """The same with TLS."""


def connect_redis(url: str, timeout: float = REDIS_TIMEOUT) -> Redis:
    """A client that waits at most `timeout` seconds, and never tries again, lest an answer be written twice unseen."""
    return Redis.from_pool(connection_pool(url, timeout))


def connection_pool(url: str, timeout: float) -> ConnectionPool:
    """A maker of single connections, which are used without a client."""
    pool = ConnectionPool.from_url(url, **_options(timeout))
    pool.connection_class = ShortTLSConnection if pool.connection_class is SSLConnection else ShortConnection
    return pool


def redis_error(url: str, timeout: float) -> Exception | None:
    """Why Redis does not answer within `timeout` seconds; None where it does, be it with a refusal."""
    try:
        with connect_redis(url, timeout) as redis:
            redis.ping()
    except ResponseError:
        return None
    except (RedisError, OSError) as error:
        return error
    return None


def _options(timeout: float) -> dict[str, Any]:
    return {
        "protocol": 2,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
    }
