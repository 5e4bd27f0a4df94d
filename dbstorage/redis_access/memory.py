"""A full Redis: it refuses whatever needs memory, including the engine's new commands."""

from collections.abc import Mapping
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

MEBIBYTE = 2**20

#: A full Redis refuses SET, but only as the first command of a script that writes, and never DEL.
_DELETE_AND_SET = "redis.call('DEL', KEYS[1]) return redis.call('SET', KEYS[1], ARGV[1])"


def why_full(memory: Mapping[str, Any]) -> str | None:
    """A sentence that says that Redis is full and what mends it, from INFO memory; None where there is room."""
    limit = memory.get("maxmemory")
    # What replicas and the append-only file are still to be sent does not count.
    used = memory.get("used_memory", 0) - memory.get("mem_not_counted_for_evict", 0)
    if not limit or used <= limit:
        return None
    return (
        f"Redis is full: {used / MEBIBYTE:,.1f} MiB are used, and maxmemory is {limit / MEBIBYTE:,.1f} MiB. It takes "
        "no new commands; those that it holds are still stored and answered. Raise maxmemory, or keep less with "
        "STREAM_KEEP, RESPONSE_MAXLEN and RESPONSE_MAXBYTES."
    )


def full_redis(redis: Redis) -> str | None:
    """The same for a server; None also where it does not tell its memory. Raises RedisError and OSError."""
    try:
        memory: Any = redis.info("memory")
    except ResponseError:
        return None  # some hosted servers do not allow INFO
    return why_full(memory)


def set_even_if_full(redis: Redis, key: str, value: str) -> None:
    """Set a key that does not expire, also in a Redis that is full. Raises RedisError and OSError."""
    redis.eval(_DELETE_AND_SET, 1, key, value)
