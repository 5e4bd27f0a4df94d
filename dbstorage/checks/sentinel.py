"""Checks which writes a master behind Sentinel may lose: those it takes without replicas, or once it is replaced."""

from collections.abc import Iterator
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from dbstorage.checks.finding import Finding, fine, warning
from dbstorage.settings import Settings
from dbstorage.urls.redis_url import is_sentinel

SENTINEL = "Redis fail-over"
ADVICE = "set min-replicas-to-write 1 and min-replicas-max-lag 2 on all servers."


def check_sentinel(redis: Redis, settings: Settings) -> Iterator[Finding]:
    """Yield one finding where sentinels name the master; nothing for a single server."""
    if not is_sentinel(settings.redis_url):
        return
    try:
        configured: Any = redis.config_get("min-replicas-to-write")
    except ResponseError:
        yield warning(SENTINEL, f"The master does not show its min-replicas-to-write to us: {ADVICE}")
        return
    if any(value not in ("0", b"0") for value in configured.values()):
        yield fine(SENTINEL, "A master without replicas takes no writes, so that none are forgotten by a fail-over.")
    else:
        yield warning(
            SENTINEL,
            "After a fail-over the old master takes writes for some ten seconds that are forgotten then "
            f"(min-replicas-to-write is 0): {ADVICE}",
        )
