"""What happens when there is more: entries, rows in the table, workers, entries in a batch."""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise

from redis import Redis

from bench.contenders.catalog import CONTENDERS, SERVICE, Contender
from bench.flower import Flower
from bench.ingest import LOOK_FOR_END, START_SECONDS, IngestRun, run_contender
from bench.processes import PYTHON, Processes, wait_for
from bench.servers import Servers
from bench.stream_progress import group_progress, last_entry_id
from bench.traffic import closed_orders
from bench.usage import ProcessGroup
from bench.verification import WrongRowsError, verify_rows
from dbstorage.wire.entry_id import parse_entry_id

USERS = 500
PARTS = 10
#: Slower than this many entries a second, a run is given up.
SLOWEST_RATE = 1_000
WORKER = (PYTHON, "-m", "celery", "-A", "dbstorage", "worker")
DEFAULT = CONTENDERS["service-failures"]


@dataclass(frozen=True)
class Part:
    """A tenth of a long stream; memory in bytes at its end, PSS of all worker processes."""

    seconds: float
    rate: float
    memory: int


@dataclass(frozen=True)
class LongRun:
    """All tenths, and what became of Flower beside them."""

    parts: list[Part]
    flower: Mapping[str, float]


@dataclass(frozen=True)
class Step:
    """One size of what grows, and the entries a second with it."""

    size: int
    rate: float


def run_long(servers: Servers, entries: int, say: Callable[[str], None]) -> LongRun:
    """Let one worker with its default settings, and Flower beside it, empty a stream; look at each tenth of it.

    Raises TooSlowError, EndedError, WrongRowsError where the number of rows is not right in the end.
    """
    each = entries // PARTS
    say(f"Filling the stream with {each * PARTS:,} orders ...")
    servers.reset([])
    ends = []
    with servers.redis() as redis:
        for number in range(PARTS):
            traffic = closed_orders(each, USERS, seed=number + 1)
            servers.add_users(traffic.users)
            servers.fill_stream(traffic.entries)
            ends.append(parse_entry_id(last_entry_id(redis).decode()))
        servers.settle()
        with Processes(servers.directory, servers.environment) as processes:
            flower = Flower.start(processes, redis)
            processes.start(SERVICE, "long-worker", WORKER, LOG_LEVEL="WARNING")
            worker = ProcessGroup(processes.pids()[SERVICE])
            wait_for(lambda: group_progress(redis).begun, START_SECONDS, 0.002, processes, "The worker")
            flower.watch()
            moments = [(time.perf_counter(), worker.memory())]
            for number, end in enumerate(ends, 1):
                wait_for(lambda end=end: _passed(redis, end), each / SLOWEST_RATE, LOOK_FOR_END, processes, "A tenth")  # type: ignore[misc]
                moments.append((time.perf_counter(), worker.memory()))
                say(f"{number * each:9,} stored, {each / (moments[-1][0] - moments[-2][0]):9,.0f} orders/s")
            findings = flower.findings()
    rows = servers.query('SELECT count(*) FROM "Orders"')[0][0]
    if rows != each * PARTS:
        raise WrongRowsError(f"{rows:,} rows are stored instead of {each * PARTS:,}.")
    parts = [
        Part(round(after - before, 3), round(each / (after - before), 1), memory)
        for (before, _), (after, memory) in pairwise(moments)
    ]
    return LongRun(parts, findings)


def run_rows(
    servers: Servers,
    contender: Contender,
    sizes: Sequence[int],
    entries: int,
    rounds: int,
    say: Callable[[str], None],
) -> list[Step]:
    """Entries a second with so many orders in the table beforehand (the fastest of the rounds, smallest size first)."""
    traffic = closed_orders(entries, USERS)
    steps = []
    for size in sizes:
        say(f"Filling the table with {size:,} orders ...")
        runs = [run_contender(servers, contender, traffic, size) for _ in range(rounds)]
        steps.append(_fastest(size, runs))
        say(f"{size:10,} rows before  {steps[-1].rate:9,.0f} orders/s  {contender.title}")
    return steps


def run_batch_sizes(servers: Servers, sizes: Mapping[int, int], rounds: int, say: Callable[[str], None]) -> list[Step]:
    """Entries a second by BATCH_SIZE; `sizes` maps each to the number of entries that gives it seconds of work."""
    steps = []
    for size, entries in sizes.items():
        contender = replace(DEFAULT, settings={**DEFAULT.settings, "BATCH_SIZE": str(size)})
        traffic = closed_orders(entries, USERS)
        steps.append(_fastest(size, [run_contender(servers, contender, traffic) for _ in range(rounds)]))
        say(f"{size:5,} in a batch       {steps[-1].rate:9,.0f} orders/s")
    return steps


def run_workers(
    servers: Servers, counts: Sequence[int], entries: int, rounds: int, say: Callable[[str], None]
) -> list[Step]:
    """Entries a second by the number of workers, ORDERING=parallel."""
    traffic = closed_orders(entries, USERS)
    steps = []
    for count in counts:
        rates = []
        for _ in range(rounds):
            servers.reset(traffic.users)
            rates.append(entries / _workers_seconds(servers, count, traffic.entries))
            verify_rows(servers.database_url, traffic.expected_rows())
        steps.append(Step(count, round(max(rates), 1)))
        say(f"{count:2} workers            {steps[-1].rate:9,.0f} orders/s")
    return steps


def _workers_seconds(servers: Servers, count: int, entries: Sequence[bytes]) -> float:
    """Seconds that so many workers need; all are up before the first entry is there for them to read."""
    with servers.redis() as redis, Processes(servers.directory, servers.environment) as processes:
        for number in range(count):
            name = f"parallel-{number + 1}"
            processes.start(SERVICE, name, (*WORKER, "-n", f"{name}@bench"), ORDERING="parallel", LOG_LEVEL="WARNING")
        # Each waits for entries and for its broker's tasks.
        ready = 2 * count
        wait_for(
            lambda: redis.info("clients")["blocked_clients"] >= ready, START_SECONDS, 0.05, processes, "The workers"
        )
        pids = [process.pid for process in ProcessGroup(processes.pids()[SERVICE]).members()]
        _signal(pids, signal.SIGSTOP)
        try:
            servers.fill_stream(entries)
            last = last_entry_id(redis)
        finally:
            begun = time.perf_counter()
            _signal(pids, signal.SIGCONT)

        def done() -> bool:
            progress = group_progress(redis)
            return progress.last_delivered == last and progress.pending == 0

        wait_for(done, START_SECONDS + len(entries) / SLOWEST_RATE, LOOK_FOR_END, processes, f"{count} workers")
        return time.perf_counter() - begun


def _passed(redis: Redis, entry_id: tuple[int, int]) -> bool:
    progress = group_progress(redis)
    return parse_entry_id(progress.last_delivered.decode()) >= entry_id and (
        # The last part has nothing behind it that would push it through.
        progress.pending == 0 or progress.last_delivered != last_entry_id(redis)
    )


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _fastest(size: int, runs: Sequence[IngestRun]) -> Step:
    return Step(size, round(max(run.rate for run in runs), 1))
