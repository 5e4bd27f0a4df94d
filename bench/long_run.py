"""A stream of a million entries, emptied in one go: is it slower at the end than at the start, and why?"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

from redis import Redis

from bench.contenders.catalog import SERVICE, Contender
from bench.flower import Flower
from bench.ingest import LOOK_FOR_END, LOOK_FOR_START, START_SECONDS
from bench.processes import Processes, wait_for
from bench.servers import GROUP, STREAM, Servers
from bench.stream_progress import group_progress, last_entry_id
from bench.traffic import SEED, USERS, next_orders
from bench.usage import ProcessGroup
from bench.verification import WrongRowsError
from dbstorage.traffic.generate import engine_commands
from dbstorage.wire.entry_id import parse_entry_id

PARTS = 10
#: Slower than this many entries a second, a run is given up.
SLOWEST_RATE = 1_000
#: Seconds that a part may take in any case: a tenth of a tiny run is too short to tell slow from busy.
SHORTEST_LIMIT = 60.0


@dataclass(frozen=True)
class Part:
    """A tenth of a long stream. `memory`: PSS of all of the contender's processes at its end, in bytes.

    `cpu_seconds`: by the name of a group of processes.
    """

    seconds: float
    rate: float
    memory: int
    cpu_seconds: Mapping[str, float]


@dataclass(frozen=True)
class LongRun:
    """All tenths of one run, and what became of Flower beside it."""

    contender: str
    parts: Sequence[Part]
    flower: Mapping[str, float]


class _Look(NamedTuple):
    """Measurements between two tenths."""

    moment: float
    memory: int
    cpu_seconds: Mapping[str, float]


def run_long(servers: Servers, contender: Contender, entries: int, say: Callable[[str], None]) -> LongRun:
    """Let a contender of one process group empty a stream, Flower beside it where it has one; look at each tenth.

    Raises TooSlowError, EndedError, WrongRowsError where the number of rows is not right in the end.
    """
    each = entries // PARTS
    say(f"Filling the stream with {each * PARTS:,} orders ...")
    ends = _fill(servers, each)
    with ExitStack() as stack:
        redis = stack.enter_context(servers.redis())
        processes = stack.enter_context(Processes(servers.directory, servers.environment))
        flower = Flower.start(processes, redis) if contender.with_flower else None
        for name, command in contender.commands.items():
            processes.start(SERVICE, f"{contender.name}-{name}", command, **contender.settings)
        groups = {name: ProcessGroup(pids) for name, pids in processes.pids().items()}
        groups |= {"postgresql": ProcessGroup([servers.postgres_pid]), "redis": ProcessGroup([servers.redis_pid])}
        wait_for(lambda: group_progress(redis).begun, START_SECONDS, LOOK_FOR_START, processes, contender.title)
        if flower is not None:
            flower.watch()
        parts = []
        limit = max(SHORTEST_LIMIT, each / SLOWEST_RATE)
        before = _look(groups)
        for number, end in enumerate(ends, 1):
            wait_for(lambda end=end: _acknowledged(redis, end), limit, LOOK_FOR_END, processes, "A tenth")  # type: ignore[misc]
            after = _look(groups)
            parts.append(_part(each, before, after))
            say(f"{number * each:9,} stored, {parts[-1].rate:9,.0f} orders/s  {contender.title}")
            before = after
        findings = flower.findings() if flower is not None else {}
    rows = servers.query('SELECT count(*) FROM "Orders"')[0][0]
    if rows != each * PARTS:
        raise WrongRowsError(f"{rows:,} rows are stored instead of {each * PARTS:,}.")
    return LongRun(contender.name, parts, findings)


def _fill(servers: Servers, each: int) -> list[tuple[int, int]]:
    """Write all parts into the stream; the last entry of each."""
    servers.reset([])
    ends = []
    # One engine for all: where times began anew with each part, the index by time would be another one in the first.
    commands = engine_commands(SEED, USERS, each * PARTS)
    with servers.redis() as redis:
        for _ in range(PARTS):
            traffic = next_orders(commands, each)
            servers.add_users(traffic.users)
            servers.fill_stream(traffic.entries)
            ends.append(parse_entry_id(last_entry_id(redis).decode()))
    servers.settle()
    return ends


def _look(groups: Mapping[str, ProcessGroup]) -> _Look:
    cpu_seconds = {name: group.cpu_seconds() for name, group in groups.items()}
    return _Look(time.perf_counter(), groups[SERVICE].memory(), cpu_seconds)


def _part(entries: int, before: _Look, after: _Look) -> Part:
    seconds = after.moment - before.moment
    used = {name: round(after.cpu_seconds[name] - before.cpu_seconds[name], 3) for name in after.cpu_seconds}
    return Part(round(seconds, 3), round(entries / seconds, 1), after.memory, used)


def _acknowledged(redis: Redis, entry_id: tuple[int, int]) -> bool:
    """Whether all entries up to this one are; a contender may have read ahead."""
    if parse_entry_id(group_progress(redis).last_delivered.decode()) < entry_id:
        return False
    lowest = redis.xpending(STREAM, GROUP)["min"]
    return lowest is None or parse_entry_id(lowest.decode()) > entry_id
