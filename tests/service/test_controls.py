"""Celery's remote control: a command that says OK acts on the stream, one that cannot refuses with a sentence."""

import subprocess
import sys
from typing import Any

import pytest

from dbstorage.application import create_app
from dbstorage.settings import load_settings
from dbstorage.status import read_verdict
from tests.service.platform import STREAM, Platform, user
from tests.service.worker import StartWorker
from tests.waiting import wait_until


def control(platform: Platform, environment: dict[str, str], *words: str) -> str:
    """`celery -A dbstorage control …` as it is typed; what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "dbstorage", "control", *words],
        env={**environment, **platform.environment}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.stdout + done.stderr


def told(platform: Platform, command: str, **arguments: Any) -> Any:
    app = create_app(load_settings(platform.environment))
    [reply] = wait_until(
        # Without a limit others are waited for.
        lambda: app.control.broadcast(command, arguments=arguments, reply=True, timeout=5, limit=1),
        f"a reply to {command}",
    )
    [answer] = reply.values()
    return answer


@pytest.mark.parametrize("ordering", ["strict", "parallel"])
def test_a_worker_stands_by_until_it_is_told_to_read_again(
    ordering: str, platform: Platform, start_worker: StartWorker, environment: dict[str, str]
) -> None:
    worker = start_worker("aside", ORDERING=ordering)
    platform.send(user("before"))
    platform.wait_until_finished()
    assert "this worker stands by" in control(platform, environment, "cancel_consumer", STREAM)
    wait_until(lambda: "reads nothing until it is told to" in worker.log, "the worker to stand by")
    expected = (
        "nobody reads: aside@test was told by an operator to stand by (cancel_consumer); "
        f"`celery -A dbstorage control add_consumer {STREAM}` ends that"
    )
    # It says so when it next tells the others how it does.
    wait_until(lambda: read_verdict(load_settings(platform.environment)).sentence == expected, "the verdict")
    # Another one that may read does.
    other = start_worker("other", ORDERING=ordering)
    platform.send(user("during"))
    wait_until(lambda: "during" in platform.users(), "the other worker to read", 20)
    other.stop()
    platform.send(user("after"))
    assert "takes its turn again" in control(platform, environment, "add_consumer", STREAM)
    wait_until(lambda: "after" in platform.users(), "the worker to read again", 20)
    assert "ERROR" not in worker.log


def test_limits_that_the_stream_cannot_have_are_refused(platform: Platform, start_worker: StartWorker) -> None:
    start_worker("limited")
    refusal = told(platform, "rate_limit", task_name="createCloseOrder", rate_limit="10/m")["error"]
    assert "has no rate limit: entries of the stream run in order" in refusal
    assert "has no time limit of its own" in told(platform, "time_limit", task_name="createUser", hard=5)["error"]
    assert "0 processes would be left" in told(platform, "pool_shrink", n=2)["error"]
    assert told(platform, "pool_shrink", n=1) == {"ok": "pool will shrink"}
    platform.send(user("served-by-one"))
    wait_until(lambda: "served-by-one" in platform.users(), "the process that is left to serve")
    # Celery's own queue is none of this.
    assert "ok" in told(platform, "add_consumer", queue="another")


def test_the_service_is_paused_and_resumed_by_remote_control(
    platform: Platform, start_worker: StartWorker, environment: dict[str, str]
) -> None:
    worker = start_worker("paused")
    assert "the service is paused: a new disk" in control(platform, environment, "pause", "a new disk")
    wait_until(lambda: "Paused by an operator: a new disk" in worker.log, "the worker to see it")
    assert told(platform, "pause") == {"ok": "the service is paused already"}
    assert "the service goes on" in control(platform, environment, "resume")
    platform.send(user("afterwards"))
    wait_until(lambda: "afterwards" in platform.users(), "the service to go on")
    trail = "SELECT who, what, reason FROM dbstorage.operations ORDER BY id"
    expected = [("remote control", "pause", "a new disk"), ("remote control", "resume", None)]
    wait_until(lambda: platform.query(trail) == expected, "the trail")
