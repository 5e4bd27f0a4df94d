"""Pausing the service: a key in Redis that every worker looks at about once a second, and that outlives them all."""

import json
import math
from typing import Any

from redis import Redis

from dbstorage.operating.verdict import Pause
from dbstorage.redis_access.keys import paused_key
from dbstorage.redis_access.memory import set_even_if_full
from dbstorage.settings import Settings

#: Characters of a reason, and of a name, that are kept.
LONGEST_TEXT = 500
NO_REASON = "no reason given"
#: The reason shown for a key that somebody else wrote. It pauses all the same, and `dbstorage resume` removes it.
UNREADABLE = Pause("the reason cannot be read", "somebody", 0.0)


def pause_service(redis: Redis, settings: Settings, reason: str, who: str) -> Pause:
    """Pause the service, or change the reason of its pause, which keeps its start. Raises RedisError and OSError."""
    before = read_pause(redis, settings)
    now: Any = redis.time()
    since = before.since if before is not None and before.since else now[0] + now[1] / 1_000_000
    pause = Pause(reason.strip()[:LONGEST_TEXT] or NO_REASON, who[:LONGEST_TEXT], since)
    set_even_if_full(redis, paused_key(settings), json.dumps(pause._asdict()))
    return pause


def resume_service(redis: Redis, settings: Settings) -> Pause | None:
    """End the pause; returns it, None where there was none. Raises RedisError and OSError."""
    before = read_pause(redis, settings)
    removed: Any = redis.delete(paused_key(settings))
    return before if removed else None


def read_pause(redis: Redis, settings: Settings) -> Pause | None:
    """The pause, if there is one. Raises RedisError and OSError."""
    value: Any = redis.get(paused_key(settings))
    return parse_pause(value)


def parse_pause(value: bytes | None) -> Pause | None:
    """The pause that the key's value describes; None without a key. Any other value is a pause, too. Never raises."""
    if value is None:
        return None
    try:
        fields = json.loads(value)
        reason, who, since = str(fields["reason"]), str(fields["who"]), float(fields["since"])
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return UNREADABLE
    return Pause(reason, who, since) if math.isfinite(since) and 0 <= since < 4e9 else UNREADABLE
