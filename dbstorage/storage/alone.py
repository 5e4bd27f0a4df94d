"""Finds what kills its process: something suspect runs alone, and its starts without an end are counted in Redis.

An entry is suspect from its third delivery on; failed tasks are where the process died that ran them together.
"""

from redis import Redis
from redis.exceptions import RedisError

from dbstorage.errors import RedisUnavailableError
from dbstorage.keys import alone_key
from dbstorage.settings import Settings

POISON = "poison"
#: From this delivery on an entry is suspect.
SUSPECT_DELIVERIES = 3
#: Processes that may die while something runs alone. One death could be a kill from outside that happened to meet it.
ALLOWED_DEATHS = 3
COUNT_EXPIRES_SECONDS = 86_400


def begin_alone(redis: Redis, settings: Settings, name: str, allowed: int = ALLOWED_DEATHS) -> bool:
    """Note that `name` begins to run alone; False when it must not, having taken its process with it too often.

    Raises RedisUnavailableError.
    """
    key = alone_key(settings, name)
    try:
        with redis.pipeline() as pipeline:
            pipeline.incr(key)
            pipeline.expire(key, COUNT_EXPIRES_SECONDS)
            started, _ = pipeline.execute()
    except (RedisError, OSError) as error:
        raise RedisUnavailableError(f"Redis did not count a run: {error}") from error
    return int(started) <= allowed


def end_alone(redis: Redis, settings: Settings, name: str) -> None:
    """Note that `name` came to its end. Raises RedisUnavailableError."""
    try:
        redis.delete(alone_key(settings, name))
    except (RedisError, OSError) as error:
        raise RedisUnavailableError(f"Redis did not count a run: {error}") from error
