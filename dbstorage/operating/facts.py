"""The facts that the verdict rests on, from what Redis knows of the workers and of the stream."""

from collections.abc import Sequence

from dbstorage.operating.last_hour import Point, trend
from dbstorage.operating.verdict import Facts, Pause
from dbstorage.operating.workers import ASIDE, READS, RESTS, STANDS_BY, WAITS, Worker


def facts_of(
    *,
    now: float,
    stream: str,
    workers: Sequence[Worker],
    pause: Pause | None,
    points: Sequence[Point],
    redis_refusal: str | None = None,
    lost: int = 0,
    database_problem: str | None,
    broker_problem: str | None = None,
    unread: int | None,
    pending: int | None,
    oldest_unread_seconds: float | None,
    oldest_pending_seconds: float | None,
) -> Facts:
    """The facts where Redis answers; `now` by its clock."""
    reading = [worker for worker in workers if worker.state == READS]
    # A worker that waits for a server, or for the end of a pause, counts as a reader: it will read by itself.
    waiting = [worker for worker in workers if worker.state == WAITS]
    resting = [worker for worker in workers if worker.state == RESTS]
    held = next((worker for worker in waiting if worker.holding), None) if not reading else None
    return Facts(
        now=now,
        redis_refusal=redis_refusal or next((worker.refusal for worker in reading if worker.refusal), None),
        database_problem=database_problem,
        broker_problem=broker_problem,
        pause=pause,
        readers=len(reading) + len(waiting) + len(resting),
        active=[worker.name for worker in (*reading, *waiting)],
        resting=[worker.name for worker in resting],
        standbys=sum(worker.state == STANDS_BY for worker in workers),
        aside=[worker.name for worker in workers if worker.state == ASIDE],
        stream=stream,
        holding=held.holding if held else None,
        holding_since=held.holding_since if held else None,
        lost=lost,
        unread=unread,
        pending=pending,
        oldest_unread_seconds=oldest_unread_seconds,
        oldest_pending_seconds=oldest_pending_seconds,
        trend=trend(points),
    )
