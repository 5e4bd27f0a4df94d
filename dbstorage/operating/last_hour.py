"""The last hour of the service, kept in Redis: each worker adds what it did every ten seconds."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from redis import Redis

from dbstorage.operating.verdict import Waiting
from dbstorage.redis_access.keys import history_key
from dbstorage.settings import Settings

#: Seconds that a point covers, and seconds for which a point is kept.
POINT_SECONDS = 10
KEPT_SECONDS = 3600
#: Points that are kept at most, however many workers there are.
MOST_POINTS = 20 * KEPT_SECONDS // POINT_SECONDS


@dataclass(frozen=True, kw_only=True)
class Point:
    """What happened in ten seconds; `at` is their end, in seconds since 1970. What is not known is None."""

    at: float
    seconds: float
    #: Entries that got an outcome, and among these: orders stored, questions answered, failures.
    entries: int = 0
    stored: int = 0
    answered: int = 0
    failed: int = 0
    #: From a question's entry to its answer, in milliseconds: half of them were faster, and the slowest.
    answer_median: float | None = None
    answer_slowest: float | None = None
    unread: int | None = None
    pending: int | None = None
    #: Age of the oldest entry that was not finished, in seconds.
    oldest: float | None = None


def add_point(redis: Redis, settings: Settings, point: Point) -> None:
    """Add a point, and delete those older than an hour. Raises RedisError and OSError."""
    key = history_key(settings)
    kept_from = int((point.at - KEPT_SECONDS) * 1000)
    with redis.pipeline(transaction=False) as pipeline:
        pipeline.xadd(key, {"point": json.dumps(asdict(point))}, maxlen=MOST_POINTS)
        pipeline.xtrim(key, minid=max(0, kept_from), approximate=False)
        pipeline.expire(key, KEPT_SECONDS)
        pipeline.execute()


def read_points(redis: Redis, settings: Settings, last_seconds: float = KEPT_SECONDS) -> list[Point]:
    """The points of all workers, oldest first, those of one moment merged. Raises RedisError and OSError."""
    now: Any = redis.time()
    first = max(0, int((now[0] - last_seconds) * 1000))
    found: Any = redis.xrange(history_key(settings), min=str(first))
    points = [point for _, fields in found if (point := _parse(fields.get(b"point"))) is not None]
    return together(points)


def together(points: Sequence[Point]) -> list[Point]:
    """Merge the points of all workers into one for each ten seconds.

    What the workers did is added up; the figures of the stream are those of the last worker that reported. Ten seconds
    without a report have no point.
    """
    by_moment: dict[int, list[Point]] = {}
    for point in points:
        by_moment.setdefault(int(point.at // POINT_SECONDS), []).append(point)
    return [_sum(moment, by_moment[moment]) for moment in sorted(by_moment)]


def trend(points: Sequence[Point]) -> list[Waiting]:
    """How many entries waited at each point."""
    return [Waiting(point.at, point.unread + (point.pending or 0)) for point in points if point.unread is not None]


def _sum(moment: int, points: Sequence[Point]) -> Point:
    newest = max(points, key=lambda point: point.at)
    told = [point for point in points if point.unread is not None or point.oldest is not None]
    seen = max(told, key=lambda point: point.at) if told else newest
    medians = [point.answer_median for point in points if point.answer_median is not None]
    slowest = [point.answer_slowest for point in points if point.answer_slowest is not None]
    return Point(
        at=float((moment + 1) * POINT_SECONDS),
        seconds=float(POINT_SECONDS),
        entries=sum(point.entries for point in points),
        stored=sum(point.stored for point in points),
        answered=sum(point.answered for point in points),
        failed=sum(point.failed for point in points),
        answer_median=max(medians, default=None),
        answer_slowest=max(slowest, default=None),
        unread=seen.unread,
        pending=seen.pending,
        oldest=seen.oldest,
    )


def _parse(value: bytes | None) -> Point | None:
    try:
        return Point(**json.loads(value or b""))
    except (ValueError, TypeError, RecursionError):
        return None
