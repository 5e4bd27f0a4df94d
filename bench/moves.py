"""Gives people another userID, in turn with orders: the cost of a move by the number of orders that follow it."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass

import orjson
import psycopg2
from redis import Redis

from bench.contenders.catalog import SERVICE, SERVICE_FAILURES
from bench.ingest import LOOK_FOR_END, LOOK_FOR_START, START_SECONDS
from bench.processes import Processes, wait_for
from bench.report.document import Report, Table
from bench.report.machine import Machine
from bench.servers import Servers
from bench.stream_progress import group_progress, last_entry_id
from bench.traffic import closed_orders

#: Slower than this many entries a second, a run is given up.
SLOWEST_RATE = 20
#: The budget: the rate with moves in turn with orders, as a share of the rate of orders alone.
BUDGET = 0.1
#: The budget holds for people with up to so many orders.
BUDGET_ORDERS = 100

PEOPLE = (
    "INSERT INTO \"User\" (\"userID\", \"email\") SELECT 'p-' || n || '-0', 'p-' || n FROM generate_series(0, %s) n"
)
ORDERS = """
INSERT INTO "Orders" ("orderId", "userId", symbol, type, quantity, leverage, "openPrice", "closePrice", "openTime",
    "closeTime", "profitLoss")
SELECT 'old-' || n || '-' || m, 'p-' || n || '-0', 'btc', 'buy', 1, 1, 1, 2, '2025-01-01', '2025-01-02', 1
FROM generate_series(0, %s) n, generate_series(1, %s) m
"""


@dataclass(frozen=True)
class MovesRun:
    """`entries`, half of them moves of people of so many orders; none moves where `orders_each` is None."""

    orders_each: int | None
    entries: int
    seconds: float

    @property
    def rate(self) -> float:
        """Entries a second."""
        return self.entries / self.seconds


def measure_moves(
    servers: Servers, sizes: Sequence[int], entries: int, people: int, say: Callable[[str], None]
) -> list[MovesRun]:
    """Orders alone, then the same with a move behind each. Raises TooSlowError, EndedError."""
    runs = [_run(servers, None, entries, people)]
    say(f"orders alone                {runs[0].rate:9,.0f} entries/s")
    for size in sizes:
        runs.append(_run(servers, size, entries, people))
        say(f"people of {size:6,} orders move {runs[-1].rate:9,.0f} entries/s")
    return runs


def _run(servers: Servers, orders_each: int | None, entries: int, people: int) -> MovesRun:
    traffic = closed_orders(entries, people)
    servers.reset(traffic.users)
    with closing(psycopg2.connect(servers.database_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(PEOPLE, (people - 1,))
        if orders_each:
            cursor.execute(ORDERS, (people - 1, orders_each))
    stream = traffic.entries if orders_each is None else _in_turn(traffic.entries[: entries // 2], people)
    servers.fill_stream(stream)
    servers.settle()
    with servers.redis() as redis, Processes(servers.directory, servers.environment) as processes:
        last = last_entry_id(redis)
        [command] = SERVICE_FAILURES.commands.values()
        processes.start(SERVICE, "moves-worker", command, **SERVICE_FAILURES.settings)
        seconds = _seconds(redis, processes, last, len(stream))
    return MovesRun(orders_each, len(stream), seconds)


def _seconds(redis: Redis, processes: Processes, last: bytes, entries: int) -> float:
    wait_for(lambda: group_progress(redis).begun, START_SECONDS, LOOK_FOR_START, processes, "The service")
    begun = time.perf_counter()

    def done() -> bool:
        progress = group_progress(redis)
        return progress.last_delivered == last and not progress.pending

    wait_for(done, START_SECONDS + entries / SLOWEST_RATE, LOOK_FOR_END, processes, "The service")
    return time.perf_counter() - begun


def _in_turn(orders: Sequence[bytes], people: int) -> list[bytes]:
    """Behind each order a createUser that gives the next person another userID."""
    entries: list[bytes] = []
    for number, order in enumerate(orders):
        person, times = number % people, number // people + 1
        message = {"userId": f"p-{person}-{times}", "userEmail": f"p-{person}"}
        entries += (order, orjson.dumps({"function": "createUser", "message": message}))
    return entries


def moves_report(runs: Sequence[MovesRun], people: int, machine: Machine) -> Report:
    """The report of runs on one machine."""
    alone = runs[0].rate
    rows = [
        (
            "orders alone" if run.orders_each is None else f"people of {run.orders_each:,} orders move",
            f"{run.entries:,}",
            f"{run.rate:,.0f}",
            f"{run.rate / alone:.2f}",
            "-" if run.orders_each is None or run.orders_each > BUDGET_ORDERS
            else "yes" if run.rate / alone >= BUDGET else "no",
        )
        for run in runs
    ]  # fmt: skip
    return Report(
        name="moves",
        title="Moves: createUser that gives people another userID, in turn with orders",
        machine=machine,
        tables=[
            Table(
                "Entries a second",
                ("", "entries", "entries/s", "× orders alone", f"at least {BUDGET:g}"),
                rows,
                f"{people} people move in turn; each takes all of its orders along. One run of each.",
            )
        ],
        data={"people": people, "runs": [asdict(run) for run in runs], "budget": BUDGET},
    )
