"""Checks liveness of a state: from there on the servers answer and time passes; in the end all work is finished."""

from collections.abc import Hashable
from math import inf

from dbstorage.reader.core import JOB_SECONDS, LEASE_SECONDS, LOOK_AHEAD_BYTES, STALL_SECONDS, Stage
from dbstorage.reader.messages import Kind, Paused, SetAside
from dbstorage.storage.outcome import Outage
from tests.reader.states import key
from tests.reader.world import BLOCK, CLAIM_IDLE, POOL_ENDS, SIZES, STEP, Content, Worker, World, id_of

#: Seconds within which all that is due is taken up, once everything answers.
PROMISE = 10.0


def assert_lives(world: World, known: set[Hashable] | None = None) -> None:
    """Everything handed in is finished and somebody reads on, in the time that was promised.

    States that are `known` to do so are not looked at again.
    """
    world = _well(world)
    limit = _limit(world)
    if _settles_in(world, ("lives", limit), known):
        return
    took = world.pass_time(limit, until=lambda: _finished(world))
    assert took < inf, f"not finished after {limit} s: {_left(world)}\n{world.told()}"
    world.add([Content.WRITE, Content.QUESTION])
    hung = any(job.hung for worker in world.running for job in worker.pool)
    again = world.pass_time(limit if hung else BLOCK + STEP, until=lambda: _finished(world))
    assert again < inf, f"what is new is not taken up: {_left(world)}\n{world.told()}"


def assert_answers(world: World, outage: Outage | None, known: set[Hashable] | None = None) -> None:
    """While the database stays away, is wrong, or (None) an operator pauses, those who ask are told so."""
    world = _well(world)
    world.database = outage
    if outage is None:
        for worker in world.running:
            world.fire(worker, Paused("an operator's reason"))
    questions = _near(world, question=True)
    limit = _limit(world)
    if _settles_in(world, ("answers", limit, *questions), known):
        return
    took = world.pass_time(limit, until=lambda: questions <= set(world.answered))
    assert took < inf, f"{questions - set(world.answered)} not answered after {limit} s: {_left(world)}\n{world.told()}"


def assert_stores(world: World) -> None:
    """While Redis takes no answers, commands are stored all the same."""
    world = _well(world)
    world.takes_answers = False
    commands = _near(world, question=False)
    took = world.pass_time(_limit(world), until=lambda: commands <= set(world.written))
    assert took < inf, f"{commands - set(world.written)} not stored: {_left(world)}\n{world.told()}"


def _settles_in(world: World, asked: tuple[Hashable, ...], known: set[Hashable] | None) -> bool:
    """Let happen what happens by itself, without time passing; whether that leads to a state that is known."""
    world.settle(set())
    if known is None:
        return False
    state = (*asked, key(world))
    if state in known:
        return True
    known.add(state)
    return False


def _well(world: World) -> World:
    """The same world, where from now on everything answers, and somebody is there who is neither stopping nor stuck."""
    world = world.clone()
    world.redis, world.takes_answers, world.database, world.sweeping = True, True, None, None
    world.full = False
    for worker in world.running:
        if worker.core.paused is not None:
            world.fire(worker, Paused(None))
        if worker.core.set_aside:
            world.fire(worker, SetAside(False))
    if not any(_able(worker) for worker in world.running):
        world.workers.append(Worker("fresh", world.make()))
    return world


def _able(worker: Worker) -> bool:
    """Whether a worker can be expected to do something."""
    return worker.stops_since is None and not any(job.hung and job.unkillable for job in worker.pool)


def _limit(world: World) -> float:
    """The promise, and what its exceptions add."""
    limit = PROMISE
    jobs = [job for worker in world.running for job in worker.pool]
    # Each is killed in its time, and they may hang one after the other.
    limit += JOB_SECONDS * sum(job.hung and not job.unkillable for job in jobs)
    if world.stuck:
        # The lease of who is stuck has to run out, or what it has taken, and whoever comes next may find a job hanging.
        limit += STALL_SECONDS + LEASE_SECONDS + PROMISE
    if any(worker.stops_since is not None for worker in world.running):
        limit += POOL_ENDS
    if world.strict:
        # Somebody who is gone may have it.
        limit += LEASE_SECONDS if world.lease not in {worker.name for worker in world.running} else 0
    else:
        limit += CLAIM_IDLE
    return limit


def _finished(world: World) -> bool:
    if world.unread or world.pending or world.due or any(worker.stops_since is not None for worker in world.running):
        return False
    able = [worker for worker in world.running if _able(worker)]
    if any(worker.core.in_hand or worker.core.away is not None or worker.core.refused for worker in able):
        return False
    reading = [worker for worker in able if _reads(worker) and world.leads(worker)]
    return len(reading) == (1 if world.strict else len(able))


def _reads(worker: Worker) -> bool:
    core = worker.core
    return core.may_begin and core.stage is Stage.NEW and core.read is not None and core.read.after is None


def _left(world: World) -> str:
    hands = {
        worker.name: (core.stage, core.waiting, list(core.jobs.values()), core.decided, core.away, worker.pool)
        for worker in world.running
        for core in [worker.core]
    }
    return f"{world.unread} unread, pending {world.pending}, lease of {world.lease}, {hands}"


def _near(world: World, *, question: bool) -> set[int]:
    """The questions, or the commands, that are near enough to be seen while the others wait."""
    core = world.make()
    near, size = set(), 0
    open_places = [*sorted(world.pending), *range(world.delivered + 1, len(world.stream) + 1)]
    for place in open_places[: max(0, core.look_ahead - 2 * core.batch_size)]:
        size += SIZES[world.stream[place - 1]]
        if size > LOOK_AHEAD_BYTES:
            break
        if world.is_question(place) is question and place not in world.deleted:
            near.add(place)
    # What a hung job has to itself waits for the job.
    for worker in world.running:
        for job in worker.pool:
            if job.hung and job.job.kind is Kind.RUN:
                near = {place for place in near if id_of(place) not in {entry.id for entry in job.job.entries}}
    return near
