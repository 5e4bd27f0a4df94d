"""Every order of events over a few entries, breadth first; liveness is asked of every state that is found."""

from collections.abc import Hashable, Iterator
from math import inf
from typing import NamedTuple

from dbstorage.reader.core import Core
from dbstorage.reader.messages import Accepted
from dbstorage.storage.outcome import Outage
from tests.reader.liveness import assert_answers, assert_lives
from tests.reader.moves import Move, make, moves
from tests.reader.states import key
from tests.reader.world import Content, World, make_core

W, Q = Content.WRITE, Content.QUESTION


class Scenario(NamedTuple):
    """Where a search begins, and how often what else may happen: see `_happen`."""

    name: str
    entries: list[Content]
    workers: int = 2
    strict: bool = True
    batch_size: int = 1
    happens: tuple[str, ...] = ()


SCENARIOS = (
    Scenario("taken over", [W, Q, W], happens=("frozen", "time")),
    Scenario("lost links", [W, W], happens=("cut", "lost", "time")),
    Scenario("outage", [W, Q, W], workers=1, happens=("database", "database", "time", "time")),
    Scenario("stops", [W, Q, W], happens=("stop", "cut")),
    Scenario("lost processes", [W, Q, W], workers=1, happens=("lost", "lost", "undone", "cut")),
    Scenario("parallel", [W, Q], strict=False, happens=("cut", "lost", "time")),
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
                    if "database" in scenario.happens:
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
    strict, batch_size = scenario.strict, scenario.batch_size
    world = World(make_core(core, strict=strict, batch_size=batch_size), scenario.workers)
    world.pass_time(1.0)
    if "database" not in scenario.happens:
        # Retries of failed tasks go beside everything else, and would only multiply the orders.
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
    """What happens seldom: time passes, a worker freezes, a link or a process is lost, the database goes or comes."""
    match what:
        case "time" | "database":
            yield what, 0, 0
        case "frozen" | "cut" | "stop":
            for index, worker in enumerate(world.workers):
                if not worker.stopped and (what != "cut" or worker.connected) and worker.stops_since is None:
                    yield what, index, 0
        case "lost" | "undone":
            for index, worker in enumerate(world.workers):
                for which, job in enumerate(worker.pool):
                    if job.accepted and not job.withdrawn:
                        yield what, index, which


def _make(world: World, move: Move) -> None:
    what, index, which = move
    worker = world.workers[index]
    match what:
        case "time":
            world.now += 1.75
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
        case "lost" | "undone":
            world.end(worker, worker.pool[which], what, 0)
        case _:
            make(world, move)
    # Whether a job is taken at once matters only to how long it may take.
    for worker in world.running:
        world.accept(worker)
        while (which := next((i for i, event in enumerate(worker.inbox) if isinstance(event, Accepted)), -1)) >= 0:
            world.take_in(worker, which)
