"""How the rate changes with the size of something: rows in the table, workers, pool processes, entries in a batch."""

import os
import signal
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from bench.contenders.catalog import SERVICE, SERVICE_FAILURES, SERVICE_PARALLEL, Contender
from bench.ingest import LOOK_FOR_END, START_SECONDS, run_contender
from bench.processes import PYTHON, Processes, wait_for
from bench.servers import Servers
from bench.stream_progress import group_progress, last_entry_id
from bench.traffic import USERS, closed_orders
from bench.usage import ProcessGroup
from bench.verification import verify_rows

#: Slower than this many entries a second, a run is given up.
SLOWEST_RATE = 1_000
WORKER = (PYTHON, "-m", "celery", "-A", "dbstorage", "worker")


@dataclass(frozen=True)
class Step:
    """One size, and the rate with it in entries a second (median of the rounds)."""

    size: int
    rate: float


def run_rows(
    servers: Servers,
    contender: Contender,
    sizes: Sequence[int],
    entries: int,
    rounds: int,
    say: Callable[[str], None],
) -> list[Step]:
    """Entries a second with so many orders in the table beforehand, all sizes in turn."""
    traffic = closed_orders(entries, USERS)
    in_turn = [size for _ in range(rounds) for size in sizes]
    runs = []
    for size in in_turn:
        say(f"Filling the table with {size:,} orders ...")
        runs.append(run_contender(servers, contender, traffic, size))
        say(f"{size:10,} rows before  {runs[-1].rate:9,.0f} orders/s  {contender.title}")
    return [
        Step(size, _median(run.rate for own, run in zip(in_turn, runs, strict=True) if own == size)) for size in sizes
    ]


def run_batch_sizes(servers: Servers, sizes: Mapping[int, int], rounds: int, say: Callable[[str], None]) -> list[Step]:
    """Entries a second by BATCH_SIZE; `sizes` maps each to the number of entries that gives it seconds of work."""
    steps = []
    for size, entries in sizes.items():
        contender = replace(SERVICE_FAILURES, settings={**SERVICE_FAILURES.settings, "BATCH_SIZE": str(size)})
        traffic = closed_orders(entries, USERS)
        steps.append(Step(size, _median(run_contender(servers, contender, traffic).rate for _ in range(rounds))))
        say(f"{size:5,} in a batch       {steps[-1].rate:9,.0f} orders/s")
    return steps


def run_processes(
    servers: Servers, counts: Sequence[int], entries: int, rounds: int, say: Callable[[str], None]
) -> list[Step]:
    """Entries a second by the pool processes of one worker, ORDERING=parallel, all numbers in turn."""
    traffic = closed_orders(entries, USERS)
    in_turn = [count for _ in range(rounds) for count in counts]
    runs = []
    for count in in_turn:
        contender = replace(SERVICE_PARALLEL, commands={"worker": (*WORKER, "-c", str(count))})
        runs.append(run_contender(servers, contender, traffic))
        say(f"{count:2} pool processes     {runs[-1].rate:9,.0f} orders/s")
    return [
        Step(count, _median(run.rate for own, run in zip(in_turn, runs, strict=True) if own == count))
        for count in counts
    ]


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
        steps.append(Step(count, _median(rates)))
        say(f"{count:2} workers            {steps[-1].rate:9,.0f} orders/s")
    return steps


def _workers_seconds(servers: Servers, count: int, entries: Sequence[bytes]) -> float:
    """Seconds that so many workers need; all are up before the first entry is there for them to read."""
    with servers.redis() as redis, Processes(servers.directory, servers.environment) as processes:
        for number in range(count):
            name = f"parallel-{number + 1}"
            processes.start(SERVICE, name, (*WORKER, "-n", f"{name}@bench"), ORDERING="parallel", LOG_LEVEL="WARNING")
        # Each worker has two blocked connections: it waits for entries, and for tasks of its broker.
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


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _median(rates: Iterable[float]) -> float:
    return round(statistics.median(rates), 1)
