"""From question to answer, and from order to committed row, while orders arrive at a steady rate."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any

import orjson
import psycopg2
from redis import Redis

from bench.distribution import Distribution, distribution
from bench.open_loop import EntrySender, Schedule, send_steadily
from bench.preload import preload_orders, preloaded_user
from bench.processes import PYTHON, EndedError, Processes, TooSlowError, wait_for
from bench.servers import GROUP, RESPONSES, STREAM, Servers
from bench.stream_progress import group_progress, last_entry_id
from bench.traffic import closed_orders
from dbstorage.settings import Settings
from dbstorage.wire.entry import GET_CLOSE_ORDERS
from dbstorage.wire.received import decode_answer

#: PostgreSQL records commit times: the latency of an order ends at its commit.
POSTGRES_SETTINGS = {"track_commit_timestamp": "on"}
ORDER_USERS = 500
#: Seconds of traffic before measuring: connections are made and statements planned meanwhile.
WARM_UP = 3.0
#: Seconds from the decision to begin until the first entry is due.
LEAD = 0.3
DRAIN_SECONDS = 120.0
COMMIT_TIMES = """
    SELECT "orderId", extract(epoch FROM pg_xact_commit_timestamp(xmin))::double precision
    FROM "Orders" WHERE "orderId" = ANY(%s)
"""


@dataclass(frozen=True)
class Scenario:
    """`orders_per_second` is how fast orders arrive, 0 for an idle service."""

    orders_per_second: int
    questions_per_second: int
    seconds: float


@dataclass(frozen=True)
class LatencyRun:
    """What was measured; `unanswered` counts questions without an answer; `orders` is None for an idle service."""

    scenario: Scenario
    questions: Distribution
    unanswered: int
    orders: Distribution | None
    #: Measured with the barest loop, and not with the service.
    barest: bool = False


class AnswerCollector:
    """Reads the response stream as a client does and notes when each answer came."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.came: dict[str, float] = {}
        self.wrong = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._collect, name="answers", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Read no more."""
        self._stopped.set()
        self._thread.join()

    def _collect(self) -> None:
        last: bytes | str = "$"
        while not self._stopped.is_set():
            replies: Any = self._redis.xread({RESPONSES: last}, block=100)
            now = time.time()
            for _stream, entries in replies:
                for entry_id, fields in entries:
                    last = entry_id
                    answer = decode_answer(fields)
                    if answer is None or answer.error is not None or len(answer.orders) != Settings.history_limit:
                        self.wrong += 1
                    elif answer.request_id is not None:
                        self.came[answer.request_id] = now


def measure_latency(
    servers: Servers, scenarios: Sequence[Scenario], rows: int, say: Callable[[str], None]
) -> list[LatencyRun]:
    """Run all scenarios on one worker, with `rows` orders in the table beforehand.

    Raises TooSlowError when the service does not catch up, EndedError when it dies.
    """
    counts = [round(scenario.orders_per_second * scenario.seconds) for scenario in scenarios]
    traffic = closed_orders(max(1, sum(counts)), ORDER_USERS)
    say(f"Filling the table with {rows:,} orders ...")
    servers.reset(traffic.users)
    preload_orders(servers, rows)
    runs = []
    for scenario in scenarios:
        if not scenario.orders_per_second:
            runs.append(replace(_measure_barest(servers, scenario), barest=True))
            say(f"  barest loop  : questions p50 {runs[-1].questions.p50} ms, p99 {runs[-1].questions.p99} ms")
    with Processes(servers.directory, servers.environment) as processes, servers.redis() as redis:
        processes.start("service", "latency-worker", (PYTHON, "-m", "celery", "-A", "dbstorage", "worker"))
        measure_questions(servers, redis, processes, Scenario(0, 20, WARM_UP), [])
        start = 0
        for scenario, count in zip(scenarios, counts, strict=True):
            runs.append(measure_questions(servers, redis, processes, scenario, traffic.entries[start : start + count]))
            start += count
            questions = runs[-1].questions
            say(f"{scenario.orders_per_second:5,} orders/s: questions p50 {questions.p50} ms, p99 {questions.p99} ms")
    return runs


def _measure_barest(servers: Servers, scenario: Scenario) -> LatencyRun:
    """The same questions, answered by the barest loop."""
    with Processes(servers.directory, servers.environment) as processes, servers.redis() as redis:
        processes.start("service", "latency-barest", (PYTHON, "-m", "bench.contenders.bare_questions"))
        measure_questions(servers, redis, processes, Scenario(0, 20, WARM_UP), [])
        run = measure_questions(servers, redis, processes, scenario, [])
    with servers.redis() as redis:
        redis.delete(STREAM, RESPONSES)
        # Not left to the worker: questions may be asked before it is up.
        redis.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    return run


def measure_questions(
    servers: Servers, redis: Redis, processes: Processes, scenario: Scenario, entries: Sequence[bytes] = ()
) -> LatencyRun:
    """Ask, and send these orders meanwhile, at a steady rate. Raises TooSlowError, EndedError."""
    with ExitStack() as stack:
        collector = AnswerCollector(stack.enter_context(servers.redis()))
        stack.callback(collector.stop)
        sender = None
        if entries:
            sender = EntrySender(servers.redis_url, entries)
            stack.callback(sender.stop)
        orders = Schedule(time.time() + LEAD, scenario.orders_per_second)
        # Questions are due between two orders, never at the same moment.
        questions = Schedule(orders.start + 0.0005, scenario.questions_per_second)
        count = round(scenario.questions_per_second * scenario.seconds)
        prefix = f"{orders.start:.3f}-"
        if sender is not None:
            sender.begin(orders)
        send_steadily(lambda first, end: _ask(redis, prefix, first, end), questions, count)
        if sender is not None:
            sender.wait(scenario.seconds + DRAIN_SECONDS)
        _drain(redis, processes)
        # The last answer is written; the collector has to have read it.
        time.sleep(LEAD)
    if collector.wrong:
        raise EndedError(f"{collector.wrong} answers were not what was asked for.")
    waited = [
        collector.came[prefix + str(index)] - questions.due(index)
        for index in range(count)
        if prefix + str(index) in collector.came
    ]
    committed = _commit_latencies(servers, entries, orders) if entries else None
    return LatencyRun(scenario, distribution(waited), count - len(waited), committed)


def _ask(redis: Redis, prefix: str, first: int, end: int) -> None:
    for index in range(first, end):
        command = {"function": GET_CLOSE_ORDERS, "userId": preloaded_user(index), "requestId": f"{prefix}{index}"}
        redis.xadd(STREAM, {b"message": orjson.dumps(command)})


def _drain(redis: Redis, processes: Processes) -> None:
    def drained() -> bool:
        progress = group_progress(redis)
        return progress.last_delivered == last_entry_id(redis) and progress.pending == 0

    wait_for(drained, DRAIN_SECONDS, 0.02, processes, "The service under a steady load")


def _commit_latencies(servers: Servers, entries: Sequence[bytes], schedule: Schedule) -> Distribution:
    order_ids = [orjson.loads(entry)["message"]["orderId"] for entry in entries]
    with closing(psycopg2.connect(servers.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(COMMIT_TIMES, (order_ids,))
        committed: dict[str, float] = dict(cursor.fetchall())
    if len(committed) != len(entries):
        raise TooSlowError(f"{len(entries) - len(committed)} orders were not stored.")
    return distribution([committed[order_id] - schedule.due(index) for index, order_id in enumerate(order_ids)])
