"""Stores a stream of closed orders with each contender: how long it takes, and how much CPU and memory it needs."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from redis import Redis

from bench.contenders.catalog import SERVICE, Contender
from bench.flower import Flower
from bench.preload import preload_orders
from bench.processes import EndedError, Processes, TooSlowError, wait_for
from bench.servers import Servers
from bench.stream_progress import group_progress, last_entry_id
from bench.traffic import Traffic
from bench.usage import ProcessGroup, Usage, UsageMeter
from bench.verification import WrongRowsError, verify_rows

START_SECONDS = 60.0
#: Slower than this many entries a second, a contender is given up.
SLOWEST_RATE = 200
#: Seconds between two looks at the group: waiting for the first read, then for the last acknowledgement.
LOOK_FOR_START = 0.002
LOOK_FOR_END = 0.01


@dataclass(frozen=True)
class IngestRun:
    """One contender's run; `seconds` from the first read to the last acknowledgement."""

    contender: str
    entries: int
    seconds: float
    usage: Mapping[str, Usage]
    notes: Mapping[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Entries a second."""
        return self.entries / self.seconds


@dataclass
class Rounds:
    """All runs, and the reason for each contender that has none."""

    runs: list[IngestRun] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)


def run_rounds(
    servers: Servers,
    contenders: Sequence[Contender],
    traffic: Traffic,
    rounds: int,
    say: Callable[[str], None],
) -> Rounds:
    """Run all contenders in turn, `rounds` times, so that all of them see the same changes of the machine's speed.

    One that cannot run, or stores something wrong, is left out from then on and does not keep the others from running.
    """
    result = Rounds()
    for number in range(1, rounds + 1):
        for contender in contenders:
            if contender.name in result.missing:
                continue
            try:
                run = run_contender(servers, contender, traffic)
            except (TooSlowError, EndedError, WrongRowsError, TimeoutError) as error:
                result.missing[contender.name] = str(error)
                result.runs = [run for run in result.runs if run.contender != contender.name]
                say(f"{contender.title}: {error}")
            else:
                result.runs.append(run)
                say(f"{number}/{rounds}  {contender.title:38} {run.rate:9,.0f} orders/s")
    return result


def run_contender(servers: Servers, contender: Contender, traffic: Traffic, rows_before: int = 0) -> IngestRun:
    """Fill the stream, let the contender empty it, compare every row.

    `rows_before` orders of others are in the table already. Raises TooSlowError, EndedError where one of its processes
    dies, WrongRowsError.
    """
    servers.reset(traffic.users)
    preload_orders(servers, rows_before)
    servers.fill_stream(traffic.entries)
    servers.settle()
    count = len(traffic.entries)
    with ExitStack() as stack:
        redis = stack.enter_context(servers.redis())
        processes = stack.enter_context(Processes(servers.directory, servers.environment))
        flower = Flower.start(processes, redis) if contender.with_flower else None
        last = last_entry_id(redis)
        *behind, (reader_name, reader) = contender.commands.items()
        for name, command in behind:
            processes.start(SERVICE, f"{contender.name}-{name}", command, **contender.settings)
            wait_for(
                lambda: redis.info("clients")["blocked_clients"] > 0, START_SECONDS, 0.05, processes, contender.title
            )
        processes.start(SERVICE, f"{contender.name}-{reader_name}", reader, **contender.settings)
        groups = {name: ProcessGroup(pids) for name, pids in processes.pids().items()}
        groups |= {"postgresql": ProcessGroup([servers.postgres_pid]), "redis": ProcessGroup([servers.redis_pid])}
        meter = UsageMeter(groups)

        wait_for(lambda: group_progress(redis).begun, START_SECONDS, LOOK_FOR_START, processes, contender.title)
        begun = time.perf_counter()
        meter.start()
        if flower is not None:
            flower.watch()
        wait_for(
            lambda: _is_done(servers, redis, contender, last, count),
            START_SECONDS + count / SLOWEST_RATE,
            LOOK_FOR_END,
            processes,
            contender.title,
        )
        seconds = time.perf_counter() - begun
        usage = meter.stop()
        notes = flower.findings() if flower is not None else {}
    verify_rows(servers.database_url, traffic.expected_rows(), rows_before)
    return IngestRun(contender.name, count, seconds, usage, notes)


def _is_done(servers: Servers, redis: Redis, contender: Contender, last: bytes, count: int) -> bool:
    progress = group_progress(redis)
    if progress.last_delivered != last or progress.pending or not contender.queue_empty(redis):
        return False
    return not contender.counts_rows or servers.query('SELECT count(*) FROM "Orders"') == [(count,)]
