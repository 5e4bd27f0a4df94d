"""Retrying failed tasks: from `dbstorage failed retry --all` to the last one resolved."""

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass

import psycopg2
from psycopg2.extras import execute_values

from bench.contenders.catalog import SERVICE, SERVICE_DEFAULT
from bench.processes import PYTHON, Processes, wait_for
from bench.report.document import Report, Table
from bench.report.machine import Machine
from bench.servers import GROUP, STREAM, Servers
from bench.traffic import USERS, Traffic, closed_orders
from bench.verification import verify_rows

START_SECONDS = 60.0
#: Slower than this many tasks a second, the run is given up.
SLOWEST_RATE = 200
LOOK_SECONDS = 0.2
#: Tasks a second that the service is to reach.
BUDGET = 2_000
LEFT = "SELECT count(*) FROM dbstorage.failed_tasks WHERE state <> 'resolved'"


@dataclass(frozen=True)
class RetriesRun:
    """One run; `command_seconds` until the command returned, `seconds` until the last task was resolved."""

    tasks: int
    command_seconds: float
    seconds: float

    @property
    def rate(self) -> float:
        """Tasks a second."""
        return self.tasks / self.seconds


def measure_retries(servers: Servers, tasks: int, say: Callable[[str], None]) -> RetriesRun:
    """Orders that failed and can be stored, retried all at once. Raises TooSlowError, EndedError, WrongRowsError."""
    traffic = closed_orders(tasks, min(tasks, USERS))
    servers.reset(traffic.users)
    _add_failed_tasks(servers, traffic)
    servers.settle()
    with ExitStack() as stack:
        redis = stack.enter_context(servers.redis())
        processes = stack.enter_context(Processes(servers.directory, servers.environment))
        [command] = SERVICE_DEFAULT.commands.values()
        processes.start(SERVICE, "retries-worker", command, **SERVICE_DEFAULT.settings)
        wait_for(lambda: redis.info("clients")["blocked_clients"] > 0, START_SECONDS, 0.05, processes, "The worker")
        begun = time.perf_counter()
        subprocess.run(
            [PYTHON, "-c", "from dbstorage.cli import main; main()", "failed", "retry", "--all", "--yes"],
            env=servers.environment, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        returned = time.perf_counter() - begun
        limit = START_SECONDS + tasks / SLOWEST_RATE
        wait_for(lambda: servers.query(LEFT) == [(0,)], limit, LOOK_SECONDS, processes, "The retries")
        run = RetriesRun(tasks, returned, time.perf_counter() - begun)
    verify_rows(servers.database_url, traffic.expected_rows())
    say(f"{tasks:,} retries  {run.rate:9,.0f} tasks/s")
    return run


def _add_failed_tasks(servers: Servers, traffic: Traffic) -> None:
    rows = [
        (STREAM, GROUP, f"createCloseOrder:{number}", f"1746403514283-{number}", entry)
        for number, entry in enumerate(traffic.entries)
    ]
    with closing(psycopg2.connect(servers.database_url)) as connection, connection, connection.cursor() as cursor:
        execute_values(
            cursor,
            "INSERT INTO dbstorage.failed_tasks (stream, consumer_group, task_id, entry_id, payload, life, function, "
            "layout, code, message, state) VALUES %s",
            rows,
            template="(%s, %s, %s, %s, %s, 1, 'createCloseOrder', 'envelope', 'code', 'It failed.', 'failed')",
            page_size=1_000,
        )


def retries_report(runs: Sequence[RetriesRun], machine: Machine) -> Report:
    """The report of runs of the same size."""
    rates = sorted(run.rate for run in runs)
    median = rates[len(rates) // 2]
    rows = [(f"{run.tasks:,}", f"{run.command_seconds:.1f}", f"{run.seconds:.1f}", f"{run.rate:,.0f}") for run in runs]
    return Report(
        name="retries",
        title="Retries",
        machine=machine,
        tables=[
            Table(
                "dbstorage failed retry --all",
                ("failed tasks", "command returned, s", "all resolved, s", "tasks/s"),
                rows,
                f"At least {BUDGET:,} tasks/s are to be reached: {'yes' if median >= BUDGET else 'no'}.",
            )
        ],
        data={"runs": [asdict(run) for run in runs], "rate": median, "budget": BUDGET},
    )
