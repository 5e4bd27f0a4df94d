"""A pool whose size or processes change while the worker runs."""

import os
import signal
import subprocess
import sys

import pytest

from dbstorage.embedded.ports import choose_port
from dbstorage.settings import load_settings
from dbstorage.status import read_verdict
from tests.chaos.conftest import full_only
from tests.metrics.scraping import get
from tests.service.platform import Platform, order, user
from tests.service.worker import StartWorker
from tests.waiting import wait_until


def control(platform: Platform, *command: str) -> str:
    """What `celery -A dbstorage control …` shows."""
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "dbstorage", "control", *command],
        env={**os.environ, **platform.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def test_a_pool_is_not_shrunk_to_nothing(platform: Platform, start_worker: StartWorker) -> None:
    worker = start_worker()
    platform.send(user("u"))
    platform.wait_until_finished()
    assert "reading the stream needs one" in control(platform, "pool_shrink", "2")
    assert "reading the stream needs one" in worker.log
    assert "pool will shrink" in control(platform, "pool_shrink", "1")
    assert "reading the stream needs one" in control(platform, "pool_shrink", "1")
    platform.send(*(order(f"o-{number}", "u") for number in range(20)))
    platform.wait_until_finished()
    assert len(platform.orders()) == 20
    assert "pool will grow" in control(platform, "pool_grow", "1")
    platform.send(order("last", "u"))
    platform.wait_until_finished()
    assert "Traceback" not in worker.log


@pytest.mark.parametrize(
    "option",
    ["--max-tasks-per-child=1", pytest.param("--max-memory-per-child=1", marks=full_only)],
)
def test_a_pool_whose_processes_are_replaced_ends_as_soon_as_any(
    option: str, platform: Platform, start_worker: StartWorker
) -> None:
    """A process ends by itself with a job of the reader in its pipe, and the worker stops just then."""
    worker = start_worker("worker", option)
    platform.send(user("u"))
    platform.wait_until_finished()
    for number in range(5):
        platform.send(*(order(f"o-{number}-{each}", "u") for each in range(3)))
        platform.wait_until_finished()
        assert worker.stop(seconds=10) == 0
        worker.start()
    assert "did not end in time" not in worker.log
    assert len(platform.orders()) == 15


def test_a_pool_whose_processes_are_stopped_is_told_of_and_goes_on_with_them(
    platform: Platform, start_worker: StartWorker
) -> None:
    """Slow (20 s): a batch is late after fifteen seconds."""
    port = choose_port()
    worker = start_worker(METRICS_PORT=str(port))
    platform.send(user("u"))
    platform.wait_until_finished()
    processes = [process.pid for process in worker.pool_processes]
    try:
        for process_id in processes:
            os.kill(process_id, signal.SIGSTOP)
        platform.send(order("o", "u"))
        late = ("no process of the pool has begun a batch for", "a batch has not come back for")
        # Before that it may be unwell for another reason, such as servers that it has not looked at yet.
        wait_until(lambda: any(words in get(port, "/readyz")[1] for words in late), "/readyz to say so", 40)
        assert get(port, "/readyz")[0] == 503
        assert get(port, "/livez")[0] == 200
        settings = load_settings(platform.environment)
        wait_until(lambda: any(words in read_verdict(settings).sentence for words in late), "the verdict", 20)
    finally:
        for process_id in processes:
            os.kill(process_id, signal.SIGCONT)
    wait_until(lambda: "o" in platform.orders(), "the pool to go on")
    wait_until(lambda: get(port, "/readyz")[0] == 200, "/readyz to say so")
