"""What a network between the service and its servers costs: throughput and lone questions by the delay of a link."""

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from urllib.parse import urlsplit, urlunsplit

from bench.contenders.catalog import BARE_ARRAYS, SERVICE, SERVICE_FAILURES, Contender
from bench.ingest import LOOK_FOR_END, LOOK_FOR_START, START_SECONDS
from bench.latency import WARM_UP, Scenario, measure_questions
from bench.preload import preload_orders
from bench.processes import Processes, TooSlowError, wait_for
from bench.report.document import Report, Table
from bench.report.machine import Machine
from bench.servers import Servers
from bench.stream_progress import group_progress, last_entry_id
from bench.traffic import USERS, closed_orders
from dbstorage.settings import Settings

#: Slower than this many entries a second, a run is given up.
SLOWEST_RATE = 50
QUESTIONS = Scenario(0, 10, 10.0)
ROWS = 100_000
BATCH = Settings.batch_size
READY_SECONDS = 30.0
CHUNK = 64 * 1024


@dataclass(frozen=True)
class NetworkRun:
    """With a delay of so many milliseconds each way: orders a second, and the p50 of a lone question (milliseconds)."""

    delay: float
    rate: float
    bare_rate: float
    question: float


def measure_network(
    servers: Servers, delays: Sequence[float], entries: int, say: Callable[[str], None]
) -> list[NetworkRun]:
    """All delays in turn, in milliseconds each way. Raises TooSlowError, EndedError."""
    runs = []
    for delay in delays:
        with ExitStack() as stack:
            environment = {
                **servers.environment,
                "REDIS_URL": stack.enter_context(_Link(servers.redis_url, delay)).url,
                "DATABASE_URL": stack.enter_context(_Link(servers.database_url, delay)).url,
            }
            rate = _rate(servers, SERVICE_FAILURES, environment, entries)
            bare_rate = _rate(servers, BARE_ARRAYS, environment, entries)
            preload_orders(servers, ROWS)
            question = _question(servers, environment)
        runs.append(NetworkRun(delay, rate, bare_rate, question))
        say(f"{delay:4g} ms each way  {rate:9,.0f} orders/s  bare loop {bare_rate:9,.0f}  question {question:.1f} ms")
    return runs


def _rate(servers: Servers, contender: Contender, environment: dict[str, str], entries: int) -> float:
    traffic = closed_orders(entries, min(entries, USERS))
    servers.reset(traffic.users)
    servers.fill_stream(traffic.entries)
    servers.settle()
    with servers.redis() as redis, Processes(servers.directory, environment) as processes:
        last = last_entry_id(redis)
        [command] = contender.commands.values()
        processes.start(SERVICE, f"network-{contender.name}", command, **contender.settings)
        wait_for(lambda: group_progress(redis).begun, START_SECONDS, LOOK_FOR_START, processes, contender.title)
        begun = time.perf_counter()

        def done() -> bool:
            progress = group_progress(redis)
            return progress.last_delivered == last and not progress.pending

        limit = START_SECONDS + entries / SLOWEST_RATE
        wait_for(done, limit, LOOK_FOR_END, processes, contender.title)
        return entries / (time.perf_counter() - begun)


def _question(servers: Servers, environment: dict[str, str]) -> float:
    with Processes(servers.directory, environment) as processes, servers.redis() as redis:
        [command] = SERVICE_FAILURES.commands.values()
        processes.start(SERVICE, "network-questions", command, **SERVICE_FAILURES.settings)
        measure_questions(servers, redis, processes, Scenario(0, 10, WARM_UP))
        return measure_questions(servers, redis, processes, QUESTIONS).questions.p50


def network_report(runs: Sequence[NetworkRun], entries: int, machine: Machine) -> Report:
    """The report of all delays."""
    without = runs[0]
    rows = [
        (
            f"{run.delay:g} ms",
            f"{run.rate:,.0f}",
            _round_trips(run, BATCH / run.rate - BATCH / without.rate),
            f"{run.bare_rate:,.0f}",
            _round_trips(run, BATCH / run.bare_rate - BATCH / without.bare_rate),
            f"{run.question:.1f}",
            _round_trips(run, (run.question - without.question) / 1000),
        )
        for run in runs
    ]
    return Report(
        name="network",
        title="Network: a delay on the way to both servers",
        machine=machine,
        tables=[
            Table(
                "By the delay each way",
                ("", "orders/s", "round trips", "bare loop", "round trips", "question p50, ms", "round trips"),
                rows,
                f"{entries:,} orders. Round trips: what a batch of {BATCH}, or a question, takes longer than without a "
                "delay, divided by the time of a round trip.",
            )
        ],
        data={"entries": entries, "runs": [asdict(run) for run in runs]},
    )


def _round_trips(run: NetworkRun, longer: float) -> str:
    """How many round trips take as long as this (seconds)."""
    return f"{longer * 1000 / (2 * run.delay):.1f}" if run.delay else "-"


class _Link:
    """A process that forwards a server's port and delays each byte; `url` leads through it."""

    def __init__(self, url: str, delay: float) -> None:
        parts = urlsplit(url)
        self._ours, theirs = multiprocessing.get_context("spawn").Pipe()
        arguments = (parts.hostname, parts.port, delay / 1000, theirs)
        self._process = multiprocessing.get_context("spawn").Process(target=_forward, args=arguments, daemon=True)
        self._process.start()
        if not self._ours.poll(READY_SECONDS):
            raise TooSlowError("The link was not ready.")
        login, at, _ = parts.netloc.rpartition("@")
        self.url = urlunsplit(parts._replace(netloc=f"{login}{at}127.0.0.1:{self._ours.recv()}"))

    def __enter__(self) -> "_Link":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()


def _forward(host: str, port: int, delay: float, connection: Connection) -> None:
    asyncio.run(_serve(host, port, delay, connection))


async def _serve(host: str, port: int, delay: float, connection: Connection) -> None:
    connections: set[asyncio.Task[None]] = set()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # What is measured ends its connections as it likes.
        with suppress(ConnectionError):
            there_reader, there_writer = await asyncio.open_connection(host, port)
            await asyncio.gather(_pump(reader, there_writer, delay), _pump(there_reader, writer, delay))

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The event loop itself does not keep a task: it would be collected while it waits.
        task = asyncio.create_task(forward(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    connection.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Forward until the connection ends, each chunk late by the delay. Any number of chunks may be on their way."""
    loop = asyncio.get_running_loop()
    while chunk := await reader.read(CHUNK):
        if delay:
            loop.call_later(delay, writer.write, chunk)
        else:
            writer.write(chunk)
    loop.call_later(delay, writer.close)
