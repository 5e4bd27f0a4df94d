"""Compares states of the world: two are the same if all that affects the future is, apart from numbers and times."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

from dbstorage.reader.core import Asked, Hold, Stage
from dbstorage.reader.messages import EntriesRead, Entry, Job, PendingEntry, Reported
from dbstorage.storage.outcome import Report
from tests.reader.world import Request, Worker, World

#: Numbers of questions and jobs, by what they are called in the state of a worker.
Name = Callable[[int], int]


def key(world: World) -> Hashable:
    """The state as a value."""
    return (
        *(_worker(worker, world.now) for worker in world.workers),
        (world.delivered, len(world.stream), world.redis, world.full, world.takes_answers),
        (world.database, world.sweeping, world.due),
        (world.lease, _deadline(world.lease_until, world.now)),
        tuple(
            (place, pending.owner, pending.deliveries, 0 if world.strict else round(pending.since - world.now, 2))
            for place, pending in sorted(world.pending.items())
        ),
        (tuple(world.written), tuple(world.answered), frozenset(world.raced), frozenset(world.deleted)),
        tuple((name, type(request.action), str(request.action)) for name, request in world.ghosts),
    )


def _worker(worker: Worker, now: float) -> Hashable:
    core = worker.core
    names: dict[int, int] = {}

    def name(number: int) -> int:
        return names.setdefault(number, len(names))

    return (
        (
            core.link,
            core.stopping,
            core.stopped,
            core.set_aside,
            core.processes,
            worker.connected,
            worker.stopped,
            worker.stops_since,
        ),
        (_entries(core.waiting), tuple(_job(job, name, now) for job in core.jobs.values()), tuple(core.decided)),
        tuple(_asked(asked, name, now) for asked in (core.read, core.claim, core.lease)),
        tuple(
            _deadline(moment, now)
            for moment in (
                # Where the next step is to claim, the moment of the next claim has no meaning yet.
                *(core.lease_until, core.lease_at, now if core.stage is Stage.CLAIM else core.claim_at),
                *(core.hold_until, core.retry_at, core.answer_at),
            )
        ),
        (core.stage, core.listed_to, core.listed_all, tuple(core.to_fetch), frozenset(core.oversized)),
        (core.read_count, core.fetch_count, _hold(core.paused), _hold(core.away), _hold(core.refused), core.pause),
        None if core.progress_at is None else round(core.progress_at - now, 2),
        tuple(_request(request, name, now) for request in worker.reading),
        tuple(_request(request, name, now) for request in worker.commands),
        tuple((name(j.job.number), j.begun, j.accepted, j.withdrawn, j.hung, j.unkillable) for j in worker.pool),
        tuple(_event(event, name) for event in (*worker.inbox, None, *worker.late)),
    )


def _deadline(moment: float, now: float) -> float:
    """One that is over is over, however long."""
    return max(0.0, round(moment - now, 2))


def _entries(entries: Iterable[Entry]) -> Hashable:
    return tuple((entry.id, entry.deliveries, entry.alone, entry.company) for entry in entries)


def _job(job: Job, name: Name, now: float) -> Hashable:
    where = (job.kind, job.ahead, job.accepted, job.killed, round(job.since - now, 2))
    return (name(job.number), _entries(job.entries), where)


def _asked(asked: Asked | None, name: Name, now: float) -> Hashable:
    return asked and (name(asked.number), round(asked.since - now, 2), asked.after, asked.fetched)


def _hold(hold: Hold | None) -> Hashable:
    return (hold and hold.outage) or hold is not None


def _request(request: Request, name: Name, now: float) -> Hashable:
    return (
        *(type(request.action), *(_value(value, name) for value in request.action)),
        *(request.served, _event(request.reply, name), round(request.since - now, 2)),
    )


def _event(event: Any, name: Name) -> Hashable:
    match event:
        case None:
            return None
        case EntriesRead(number, entries):
            return (name(number), _entries(entries))
        case Reported(number, report):
            return (name(number), _value(report, name))
        case _:
            return (type(event), *(_value(value, name) for value in event))


def _value(value: Any, name: Name) -> Hashable:
    match value:
        case Report():
            return (
                tuple(value.outcomes),
                tuple(value.acknowledged),
                value.outage,
                bool(value.crash),
                value.more,
                value.lost,
            )
        case bool():
            return value
        case int():
            return name(value)
        case PendingEntry():
            return tuple(value)
        case list() | tuple():
            return tuple(_value(item, name) if not isinstance(item, PendingEntry) else item for item in value)
        case _:
            return str(value)
