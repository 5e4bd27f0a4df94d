"""Adds to the facts that the verdict rests on what the workers report of themselves."""

from collections.abc import Sequence
from dataclasses import replace

from dbstorage.operating.last_hour import Point, trend
from dbstorage.operating.verdict import Facts
from dbstorage.operating.workers import ASIDE, READS, RESTS, STANDS_BY, WAITS, Worker


def with_workers(facts: Facts, workers: Sequence[Worker], points: Sequence[Point] = ()) -> Facts:
    """The facts with what these workers do, and with how many entries waited at the `points` of the last hour."""
    reading = [worker for worker in workers if worker.state == READS]
    # A worker that waits for a server, or for the end of a pause, counts as a reader: it will read by itself.
    waiting = [worker for worker in workers if worker.state == WAITS]
    resting = [worker for worker in workers if worker.state == RESTS]
    held = next((worker for worker in waiting if worker.holding), None) if not reading else None
    refusal = next((worker.refusal for worker in reading if worker.refusal), None)
    return replace(
        facts,
        redis_refusal=facts.redis_refusal or refusal,
        readers=len(reading) + len(waiting) + len(resting),
        active=[worker.name for worker in (*reading, *waiting)],
        resting=[worker.name for worker in resting],
        standbys=sum(worker.state == STANDS_BY for worker in workers),
        aside=[worker.name for worker in workers if worker.state == ASIDE],
        holding=held.holding if held else None,
        holding_since=held.holding_since if held else None,
        trend=trend(points),
    )
