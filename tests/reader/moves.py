"""The smallest steps that the world can take next, as values; `machine.py` chooses by chance, `search.py` tries all."""

from typing import TypeAlias

from tests.reader.world import Worker, World

#: What, of which worker, and which of several.
Move: TypeAlias = tuple[str, int, int]


def moves(world: World) -> list[Move]:
    """Every small step that is possible, in a fixed order."""
    found: list[Move] = []
    for index, worker in enumerate(world.workers):
        if not worker.stopped:
            found += [(what, index, which) for what, which in _of(world, worker)]
    return found


def _of(world: World, worker: Worker) -> list[tuple[str, int]]:
    found = []
    for which, line in enumerate((worker.reading, worker.commands)):
        if line and line[0].served:
            found.append(("reply", which))
        if world.redis and any(not request.served for request in line):
            found.append(("serve", which))
    if any(not job.accepted for job in worker.pool):
        found.append(("accept", 0))
    told = [getattr(event, "job", None) for event in worker.inbox]
    found += [("come in", which) for which, job in enumerate(told) if job not in told[:which]]
    if worker.late:
        found.append(("come in late", 0))
    found += [("end", which) for which, job in enumerate(worker.pool) if job.runs or (job.withdrawn and not job.hung)]
    if world.may_connect(worker):
        found.append(("connect", 0))
    return found


def make(world: World, move: Move) -> None:
    """Take the step."""
    what, index, which = move
    worker = world.workers[index]
    line = (worker.reading, worker.commands)[which] if what in ("reply", "serve") else []
    match what:
        case "reply":
            world.deliver(worker, line)
        case "serve":
            world.serve(worker, next(request for request in line if not request.served))
        case "accept":
            world.accept(worker)
        case "come in":
            world.take_in(worker, which)
        case "come in late":
            world.take_in_late(worker)
        case "end":
            world.end(worker, worker.pool[which])
        case "connect":
            world.connect(worker)
