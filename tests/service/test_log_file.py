"""The option --logfile, as `celery multi`, --detach and Celery's own units for systemd use it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.service.platform import Platform, user
from tests.service.worker import StartWorker
from tests.waiting import wait_until

CELERY = (sys.executable, "-m", "celery")


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.fixture
def ended_at_the_end(tmp_path: Path) -> Iterator[Path]:
    """A directory; the workers whose pid files are in it do not outlive the test."""
    with ExitStack() as stack:
        stack.callback(end_all, tmp_path)
        yield tmp_path


def end_all(place: Path) -> None:
    for pid_file in place.glob("*.pid"):
        with suppress(ProcessLookupError, ValueError):
            os.kill(int(pid_file.read_text()), signal.SIGKILL)


def test_lines_go_to_the_file_and_nowhere_else(platform: Platform, start_worker: StartWorker, tmp_path: Path) -> None:
    own = tmp_path / "own.log"
    worker = start_worker("filed", "--logfile", str(own), ready=False)
    wait_until(lambda: " ready." in text(own), "the worker to be ready")
    platform.send({"function": "noSuchFunction"})
    wait_until(lambda: "unknown_function" in text(own) or "noSuchFunction" in text(own), "the failure to be logged")
    assert "INFO" not in worker.log
    worker.stop()


def test_a_file_that_cannot_be_written_stops_the_start_with_a_sentence(
    platform: Platform, start_worker: StartWorker, tmp_path: Path
) -> None:
    worker = start_worker("nowhere", "--logfile", str(tmp_path / "missing" / "own.log"), ready=False)
    assert worker.wait(60) == 2
    assert "missing/own.log' cannot be written: No such file or directory." in worker.log
    assert "Traceback" not in worker.log


def test_celery_multi_gives_each_process_its_file(
    platform: Platform, environment: dict[str, str], ended_at_the_end: Path
) -> None:
    place = ended_at_the_end
    options = ["-A", "dbstorage", f"--pidfile={place}/%n.pid", f"--logfile={place}/%n%I.log", "--loglevel=INFO"]

    def multi(verb: str) -> None:
        command = [*CELERY, "multi", verb, "w1", "w2", *options]
        subprocess.run(command, env=environment, check=True, timeout=60, capture_output=True, cwd=Path.cwd())

    multi("start")
    for name in ("w1", "w2"):
        wait_until(lambda name=name: " ready." in text(place / f"{name}.log"), f"{name} to be ready")  # type: ignore[misc]
    platform.send(user("by-multi"))
    wait_until(lambda: "by-multi" in platform.users(), "the user to be stored")
    # A file for each pool process too, which writes only when something is wrong.
    assert {path.name for path in place.glob("w1-*.log")} == {"w1-1.log", "w1-2.log"}
    multi("stopwait")
    assert list(place.glob("*.pid")) == []


def test_a_detached_worker_logs_to_its_file(
    platform: Platform, environment: dict[str, str], ended_at_the_end: Path
) -> None:
    place = ended_at_the_end
    options = ["-n", "alone@test", f"--pidfile={place}/alone.pid", f"--logfile={place}/%n.log", "--detach"]
    subprocess.run([*CELERY, "-A", "dbstorage", "worker", *options], env=environment, check=True, timeout=60)
    wait_until(lambda: " ready." in text(place / "alone.log"), "the worker to be ready")
    platform.send(user("detached"))
    wait_until(lambda: "detached" in platform.users(), "the user to be stored")
    os.kill(int((place / "alone.pid").read_text()), signal.SIGTERM)
    wait_until(lambda: not (place / "alone.pid").exists(), "the worker to end")
