"""Whether a key that should be a stream is one: another program may use its name for something else."""

from typing import Any

from redis import Redis
from redis.exceptions import ResponseError


def other_kind(redis: Redis, name: str) -> str | None:
    """A sentence where the key is of another type than a stream; None also where Redis does not tell.

    Raises RedisError and OSError.
    """
    try:
        kind: Any = redis.type(name)
    except ResponseError:
        return None  # our user may not have this right
    if kind in (b"none", b"stream"):
        return None
    return f"The key {name} is a {kind.decode()}, not a stream: rename one or the other."
