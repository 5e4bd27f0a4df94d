"""Redis full (maxmemory, noeviction): it refuses what needs memory, and serves everything that finishes work."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dbstorage.embedded.ports import choose_port
from tests.chaos.liveness import TAKEN_UP, wait_until_drained, wait_until_served
from tests.metrics.scraping import get
from tests.service.platform import STREAM, Platform, order, question, user
from tests.service.worker import StartWorker
from tests.waiting import let_it_last, wait_until

SETTINGS = {"QUERY_TTL": "3600"}
#: Longer than a lease, and a worker's sign of life, last.
LEASE = 6


@contextmanager
def full(platform: Platform) -> Iterator[None]:
    """Redis above its limit, however much is freed meanwhile."""
    platform.redis.config_set("maxmemory-policy", "noeviction")
    platform.redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        platform.redis.config_set("maxmemory", 0)


def people(first: int, count: int) -> list[dict[str, Any]]:
    """Users and their orders, with a question after every tenth."""
    commands = []
    for number in range(first, first + count):
        commands += [user(f"u-{number}"), order(f"o-{number}", f"u-{number}")]
        if number % 10 == 0:
            commands.append(question(f"u-{number}", f"q-{number}"))
    return commands


def test_what_is_in_the_stream_is_stored_answered_and_trimmed(platform: Platform, start_worker: StartWorker) -> None:
    """Slow (12 s): the worker goes on for longer than its lease would last without being renewed."""
    worker = start_worker(**SETTINGS, STREAM_KEEP="0", BATCH_SIZE="20")
    blocker = platform.hold_orders()
    platform.send(*people(0, 400))
    wait_until(lambda: platform.pending() > 0, "entries in hand")
    with full(platform):
        began = time.monotonic()
        blocker.close()
        wait_until_drained(platform)
        assert len(platform.orders()) == 400
        assert [answer["requestId"] for answer in platform.answers()] == [f"q-{n}" for n in range(0, 400, 10)]
        # Redis trims by whole nodes of a hundred entries.
        wait_until(lambda: platform.redis.xlen(STREAM) <= 100, "the stream to be trimmed behind the work", TAKEN_UP)
        let_it_last(began + LEASE + 1 - time.monotonic())
        reading = "is interrupted" not in worker.log
    wait_until_served(platform)
    assert reading, worker.log
    assert platform.failed("code") == []


def test_a_worker_that_starts_then_begins(platform: Platform, start_worker: StartWorker) -> None:
    """Neither the worker's keys, nor the group, nor the broker's queue are there yet."""
    platform.send(user("u"), order("o", "u"), question("u", "q"))
    with full(platform):
        worker = start_worker(**SETTINGS)
        assert [item["orderId"] for item in platform.answer_to("q")["orders"]] == ["o"]
        wait_until_drained(platform)
    assert "Traceback" not in worker.log


def test_a_worker_takes_over_from_another_then(platform: Platform, start_worker: StartWorker) -> None:
    """Slow (14 s): two workers start, and one of them twice."""
    first = start_worker(**SETTINGS)
    platform.send(user("before"))
    platform.wait_until_finished()
    assert first.stop() == 0
    platform.send(*people(0, 50))
    with full(platform):
        first.start()
        start_worker("second", **SETTINGS)
        wait_until_drained(platform)
        assert len(platform.orders()) == 50
        assert first.stop() == 0
        # It is the second one's turn, and its sign of life and lease are new keys.
    platform.send(*people(50, 50))
    wait_until_drained(platform)
    assert len(platform.orders()) == 100


@pytest.fixture
def run(platform: Platform) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command `dbstorage` with these arguments."""
    program = Path(sys.executable).with_name("dbstorage")
    environment = {**os.environ, **platform.environment}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=30
        )

    return run


def test_readyz_says_that_redis_is_full_and_livez_stays_200(platform: Platform, start_worker: StartWorker) -> None:
    port = choose_port()
    start_worker(**SETTINGS, METRICS_PORT=str(port))
    wait_until(lambda: get(port, "/readyz")[0] == 200, "the worker to be ready")
    with full(platform):
        wait_until(lambda: get(port, "/readyz")[0] == 503, "/readyz to tell", TAKEN_UP)
        assert "Redis is full" in get(port, "/readyz")[1]
        assert get(port, "/livez")[0] == 200, "a restart would mend nothing"
    wait_until(lambda: get(port, "/readyz")[0] == 200, "/readyz to say that it is over", TAKEN_UP)


def test_status_and_check_say_that_redis_is_full(
    platform: Platform, start_worker: StartWorker, run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    start_worker(**SETTINGS)
    platform.send(user("u"))
    platform.wait_until_finished()
    assert run("status").returncode == 0
    with full(platform):
        told = run("status")
        assert told.returncode != 0
        assert "Redis is full" in told.stderr
        found = run("check")
        assert found.returncode != 0
        assert "Redis is full" in found.stdout


def test_it_can_be_paused_and_the_log_says_why(
    platform: Platform, start_worker: StartWorker, run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    worker = start_worker(**SETTINGS)
    platform.send(user("u"))
    platform.wait_until_finished()
    with full(platform):
        wait_until(lambda: "Redis is full" in worker.log, "the log to tell", TAKEN_UP)
        for reason in ("no room", "a larger machine"):
            paused = run("pause", "--reason", reason)
            assert paused.returncode == 0, paused.stderr
        wait_until(lambda: "Paused by an operator: a larger machine" in worker.log, "the worker to see it")
        assert run("resume").returncode == 0
        wait_until(lambda: "The operator's pause is over" in worker.log, "the worker to go on")
    assert worker.log.count("ERROR") == 1
