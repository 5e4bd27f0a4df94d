"""Redis for operators: whatever is wrong with it becomes one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError, ResponseError

from dbstorage.errors import RedisUnavailableError


@contextmanager
def redis_errors_explained() -> Iterator[None]:
    """Turn errors of Redis, and of the connection to it, into RedisUnavailableError with a sentence."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise RedisUnavailableError(f"Redis cannot be used: {str(error).rstrip('.')}.") from error


def is_not_there(error: ResponseError) -> bool:
    """Whether Redis says that the stream it was asked about, or the consumer group, does not exist."""
    return str(error).startswith(("no such key", "NOGROUP"))
