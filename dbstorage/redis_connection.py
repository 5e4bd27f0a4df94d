"""How this service connects to Redis: RESP2, an early end to waiting, and no retry behind anybody's back."""

from typing import Any

from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

#: Seconds that a command waits for Redis where nothing else is said; pausing is the event loop's business.
REDIS_TIMEOUT = 2.0


def connect_redis(url: str, timeout: float = REDIS_TIMEOUT) -> Redis:
    """A client that waits at most `timeout` seconds, and never tries again, lest an answer be written twice unseen."""
    return Redis.from_url(url, **_options(timeout))


def connection_pool(url: str, timeout: float) -> ConnectionPool:
    """A maker of single connections, which are used without a client."""
    return ConnectionPool.from_url(url, **_options(timeout))


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
