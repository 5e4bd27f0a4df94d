"""Checks sentinels: whether all answer and agree, and which writes a fail-over may lose."""

from collections.abc import Iterator
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from dbstorage.checks.finding import Finding, fine, warning
from dbstorage.redis_access.client import SentinelAnswer, ask_each_sentinel
from dbstorage.settings import Settings
from dbstorage.urls.redis_url import is_sentinel, parse_sentinel_url

SENTINEL, SENTINELS = "Redis fail-over", "Redis sentinels"
ADVICE = "set min-replicas-to-write 1 and min-replicas-max-lag 2 on all servers."


def check_sentinel(redis: Redis, settings: Settings) -> Iterator[Finding]:
    """Yield what is found of the sentinels and of the fail-over; nothing for a single server."""
    if not is_sentinel(settings.redis_url):
        return
    yield _agreement(ask_each_sentinel(settings.redis_url), parse_sentinel_url(settings.redis_url).service)
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


def _agreement(told: dict[str, SentinelAnswer], service: str) -> Finding:
    """Whether all sentinels answer, and name one master; `told` is what each of them says."""
    masters = {master for master, _ in told.values() if master is not None}
    silent = [instead for master, instead in told.values() if master is None]
    if len(masters) > 1:
        named = [f"{place} names {master}" for place, (master, _) in told.items() if master is not None]
        named[0] += f" as the master of {service}"
        disagree = f"{', '.join(named)}: they have to agree, or a worker follows whichever answers first."
        return warning(SENTINELS, "; ".join([*silent, disagree]))
    if silent:
        return warning(SENTINELS, f"{'; '.join(silent)}. The others name {', '.join(masters)}; work goes on.")
    return fine(SENTINELS, f"{len(told)} sentinels name {', '.join(masters)} as the master of {service}.")
