"""Searches every order of events over a few entries, breadth first, and checks liveness of every state found."""

from collections.abc import Hashable, Iterator
from math import inf
from typing import NamedTuple

from dbstorage.reader.core import Core
from dbstorage.reader.messages import Accepted, SetAside
from dbstorage.storage.outcome import Outage
from tests.reader.liveness import assert_answers, assert_lives
from tests.reader.moves import Move, make, moves
from tests.reader.states import key
from tests.reader.world import Content, PoolJob, World, make_core

W, Q = Content.WRITE, Content.QUESTION


class Scenario(NamedTuple):
    """Where a search begins, and how often what else may happen: see `_happen`."""

    name: str
    entries: list[Content]
    happens: tuple[str, ...]
    workers: int = 1
    strict: bool = True
    processes: int = 2
    batch_size: int = 1
    look_ahead: int = 12
    #: Whether failed tasks are looked at; beside everything else that only multiplies the orders.
    retries: bool = False


SCENARIOS = (
    Scenario("taken over", [W, Q, W], ("frozen", "time"), workers=2),
    Scenario("leases", [], ("frozen", "cut", "time"), workers=2),
    Scenario("lost links", [W, W], ("cut", "lost", "time"), workers=2),
    Scenario("stops", [W, Q, W], ("stop", "cut"), workers=2),
    Scenario("set aside", [W, Q, W], ("aside", "aside", "cut"), workers=2),
    Scenario("parallel", [W, Q], ("cut", "lost", "time"), workers=2, strict=False),
    Scenario("lost processes", [W, Q, W], ("lost", "lost", "undone", "cut")),
    Scenario("not acknowledged", [W, W], ("unacknowledged", "unacknowledged", "cut"), retries=True),
    Scenario("hanging jobs", [W], ("hang", "hang", "half a minute"), processes=1, retries=True),
    Scenario("stuck for good", [W, W], ("unkillable", "half a minute"), workers=2, retries=True),
    Scenario("outage", [W, W, Q], ("database", "database", "time", "time"), retries=True),
    Scenario("only questions", [Q, Q], ("database", "database", "time"), retries=True),
    Scenario("deadly questions", [Q, Q], ("lost", "lost"), batch_size=2, retries=True),
    Scenario("batches", [W, W, Q, W, W], ("lost", "undone"), batch_size=2),
)


class Found(NamedTuple):
    """How far a search came."""

    states: int
    depth: int
    finished: bool


def search(scenario: Scenario, core: type[Core], most: int) -> Found:
    """Look at so many states at most; raises AssertionError with the way to the first that breaks a promise."""
    world = _start(scenario, core)
    known: set[Hashable] = {key(world)}
    lived: set[Hashable] = set()
    level: list[tuple[World, tuple[str, ...], tuple[Move, ...]]] = [(world, scenario.happens, ())]
    depth = 0
    while level:
        depth += 1
        further = []
        for before, left, way in level:
            for move, rest in _choices(before, left):
                after = before.clone()
                try:
                    _make(after, move)
                    state = (key(after), rest)
                    if state in known:
                        continue
                    assert_lives(after, lived)
                    if scenario.retries:
                        assert_answers(after, Outage.DATABASE, lived)
                except AssertionError as error:
                    error.add_note(f"{scenario.name}, after {len(known)} states: {[*way, move]}")
                    raise
                known.add(state)
                if len(known) >= most:
                    return Found(len(known), depth, False)
                further.append((after, rest, (*way, move)))
        level = further
    return Found(len(known), depth, True)


def _start(scenario: Scenario, core: type[Core]) -> World:
    options = {name: getattr(scenario, name) for name in ("strict", "processes", "batch_size", "look_ahead")}
    world = World(make_core(core, **options), scenario.workers)
    world.pass_time(1.0)
    if not scenario.retries:
        for worker in world.workers:
            worker.core.retry_at = inf
    world.add(scenario.entries)
    return world


def _choices(world: World, left: tuple[str, ...]) -> Iterator[tuple[Move, tuple[str, ...]]]:
    for move in moves(world):
        yield move, left
    for what in dict.fromkeys(left):
        rest = list(left)
        rest.remove(what)
        for move in _happen(world, what):
            yield move, tuple(rest)


def _happen(world: World, what: str) -> Iterator[Move]:
    """What happens seldom, in each way in which it can happen."""
    match what:
        case "time" | "half a minute" | "database":
            yield what, 0, 0
        case "frozen" | "cut" | "stop" | "aside":
            for index, worker in enumerate(world.workers):
                if not worker.stopped and (what != "cut" or worker.connected) and worker.stops_since is None:
                    yield what, index, 0
        case "hang" | "unkillable" | "lost" | "undone" | "unacknowledged":
            for index, worker in enumerate(world.workers):
                for which, job in enumerate(worker.pool):
                    if _may(what, job):
                        yield what, index, which


def _may(what: str, job: PoolJob) -> bool:
    if job.withdrawn or job.hung:
        return False
    return job.begun if what in ("hang", "unkillable") else job.accepted


def _make(world: World, move: Move) -> None:
    what, index, which = move
    worker = world.workers[index]
    match what:
        case "time" | "half a minute":
            world.now += 1.75 if what == "time" else 31.0
            for running in world.running:
                world.tick(running)
        case "database":
            world.database = None if world.database else Outage.DATABASE
        case "frozen":
            world.pass_time(7.0, frozen=[worker])
        case "cut":
            world.cut(worker, ghosts=True)
        case "stop":
            world.stop(worker)
        case "aside":
            world.fire(worker, SetAside(not worker.core.set_aside))
        case "hang" | "unkillable":
            worker.pool[which].hung, worker.pool[which].unkillable = True, what == "unkillable"
        case "lost" | "undone" | "unacknowledged":
            world.end(worker, worker.pool[which], what, 1 if what == "unacknowledged" else 0)
        case _:
            make(world, move)
    # Whether a job is taken at once matters only to how long it may take.
    for worker in world.running:
        world.accept(worker)
        while (which := next((i for i, event in enumerate(worker.inbox) if isinstance(event, Accepted)), -1)) >= 0:
            world.take_in(worker, which)
