"""What each worker reports of itself in Redis. So standbys are seen, too: they have no consumer in the group."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from redis import Redis

from dbstorage.redis_access.holder import KeyHolder
from dbstorage.redis_access.keys import lease_key, worker_key, workers_key
from dbstorage.settings import Ordering, Settings

#: Seconds after which a worker's report is out of date: it writes a new one every few seconds.
FRESH_SECONDS = 20.0
#: Seconds for which a worker that is gone is still named.
KEPT_SECONDS = 3600


@dataclass(frozen=True, kw_only=True)
class WorkerReport:
    """A worker's report on itself; moments in seconds since 1970."""

    node: str
    host: str
    process_id: int
    version: str
    #: A ReaderState: active, standby, aside or waiting.
    state: str
    #: Why it stores nothing, and since when.
    holding: str | None = None
    holding_since: float | None = None
    #: Why it answers no question, though it stores commands.
    refusal: str | None = None
    #: Whether it follows an operator's pause: nothing of it is being stored any more.
    rests: bool = False
    at: float


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker as others see it."""

    name: str
    #: `reads`, `stands by`, `told to stand by` (it would not take over), `waits` (for a server), `rests` (in an
    #: operator's pause) or `gone`.
    state: str
    host: str | None = None
    process_id: int | None = None
    version: str | None = None
    holding: str | None = None
    holding_since: float | None = None
    refusal: str | None = None
    #: Seconds since its last report; None where it has never written one.
    silent_seconds: float | None = None


READS, STANDS_BY, ASIDE, WAITS, RESTS, GONE = "reads", "stands by", "told to stand by", "waits", "rests", "gone"


def write_report(redis: Redis, settings: Settings, report: WorkerReport, *, forget_before: float | None) -> None:
    """Write this worker's report; delete those from before `forget_before`. Raises RedisError and OSError."""
    key = workers_key(settings)
    with redis.pipeline(transaction=False) as pipeline:
        pipeline.hset(key, report.node, json.dumps(asdict(report)))
        pipeline.expire(key, KEPT_SECONDS)
        pipeline.execute()
    if forget_before is not None:
        old = [other.node for other in read_reports(redis, settings) if other.at < forget_before]
        if old:
            redis.hdel(key, *old)


def read_reports(redis: Redis, settings: Settings) -> list[WorkerReport]:
    """The workers' reports by name; what is no report is left out. Raises RedisError and OSError."""
    found: Any = redis.hgetall(workers_key(settings))
    reports = [report for value in found.values() if (report := _parse(value)) is not None]
    return sorted(reports, key=lambda report: report.node)


def read_workers(redis: Redis, settings: Settings, consumers: Iterable[str] = ()) -> list[Worker]:
    """All workers known by a report, the lease or a consumer of the group. Raises RedisError and OSError."""
    reports = {report.node: report for report in read_reports(redis, settings)}
    now: Any = redis.time()
    token: Any = redis.get(lease_key(settings))
    holder = KeyHolder.parse(token)
    leader = holder.node_name if holder else None
    names = sorted({*reports, *consumers, *([leader] if leader else [])})
    signs: Any = redis.mget([worker_key(settings, name) for name in names]) if names else []
    seconds = now[0] + now[1] / 1_000_000
    strict = settings.ordering is Ordering.STRICT
    return [
        describe(name, reports.get(name), alive=sign is not None, leads=name == leader, strict=strict, now=seconds)
        for name, sign in zip(names, signs, strict=True)
    ]


def describe(name: str, report: WorkerReport | None, *, alive: bool, leads: bool, strict: bool, now: float) -> Worker:
    """Describe a worker by its report and its keys; `alive`: its sign of life is there."""
    silent = None if report is None else max(0.0, now - report.at)
    fresh = silent is not None and silent < FRESH_SECONDS
    # Without a broker it is not in Redis either. Who follows a pause is.
    cut_off = fresh and report is not None and report.state == "waiting" and not report.rests
    if not (alive or leads or cut_off):
        return Worker(
            name=name,
            state=GONE,
            host=report.host if report else None,
            process_id=report.process_id if report else None,
            version=report.version if report else None,
            silent_seconds=silent,
        )
    if report is None or not fresh:
        state = READS if leads or not strict else STANDS_BY
        return Worker(name=name, state=state, silent_seconds=silent)
    if report.state == "waiting" or report.holding is not None:
        state = RESTS if report.rests else WAITS
    elif strict:
        state = READS if leads else STANDS_BY
    else:
        state = READS
    if strict and not leads and report.state == "standby":
        state = STANDS_BY
    elif report.state == "aside":
        state = ASIDE
    return Worker(
        name=name,
        state=state,
        host=report.host,
        process_id=report.process_id,
        version=report.version,
        holding=report.holding if state in (WAITS, RESTS) else None,
        holding_since=report.holding_since if state in (WAITS, RESTS) else None,
        refusal=report.refusal if state in (READS, WAITS, RESTS) else None,
        silent_seconds=silent,
    )


def _parse(value: bytes) -> WorkerReport | None:
    try:
        fields = json.loads(value)
        return WorkerReport(
            node=str(fields["node"]),
            host=str(fields["host"]),
            process_id=int(fields["process_id"]),
            version=str(fields["version"]),
            state=str(fields["state"]),
            holding=None if fields["holding"] is None else str(fields["holding"]),
            holding_since=None if fields["holding_since"] is None else float(fields["holding_since"]),
            refusal=None if fields.get("refusal") is None else str(fields["refusal"]),
            rests=fields.get("rests") is True,
            at=float(fields["at"]),
        )
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None
