import json
import os
import re
import signal
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg2
import pytest
import redis

from dbstorage.embedded.redis import EmbeddedRedis
from dbstorage.embedded.running_servers import running_servers
from tests.processes import capabilities
from tests.waiting import wait_until

CHECKOUT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from dbstorage.cli import main; main(prog_name='dbstorage')"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all of these tests type their commands: the data is created once."""
    return tmp_path_factory.mktemp("up")


def environment(**variables: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("REDIS_URL", "DATABASE_URL")}
    return {**inherited, "PYTHONPATH": str(CHECKOUT), **variables}


class Up:
    """A running `dbstorage up` and the processes that it started."""

    def __init__(self, directory: Path, *options: str, **variables: str) -> None:
        self.directory = directory
        self.log_file = directory / "up.log"
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "up", *options],
                cwd=directory,
                env=environment(**variables),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: self.process.poll() is not None or self.says("DBStorage is up"), "the start")
        assert self.process.poll() is None, self.output
        self.descendants = psutil.Process(self.process.pid).children(recursive=True)

    @property
    def output(self) -> str:
        return self.log_file.read_text()

    @property
    def servers(self) -> dict[str, str]:
        servers = running_servers(self.directory / ".dbstorage")
        assert servers
        return servers

    def says(self, text: str) -> bool:
        return text in self.output

    def end(self, signal_number: signal.Signals) -> int:
        """Send the signal as a terminal would, to the whole group; return the exit code once all is gone."""
        # Those that were started meanwhile too.
        self.descendants += psutil.Process(self.process.pid).children(recursive=True)
        os.killpg(self.process.pid, signal_number)
        exit_code = self.process.wait(60)
        wait_until(lambda: not self.running(), "the end of all that it started")
        return exit_code

    def running(self) -> list[psutil.Process]:
        return [process for process in self.descendants if is_alive(process)]

    def child(self, word: str) -> psutil.Process | None:
        """The direct child with this word in its command line."""
        for child in psutil.Process(self.process.pid).children():
            if word in child.cmdline():
                return child
        return None


@contextmanager
def running_up(directory: Path, *options: str, **variables: str) -> Iterator[Up]:
    up = Up(directory, *options, **variables)
    try:
        yield up
    finally:
        if up.process.poll() is None:
            up.end(signal.SIGTERM)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def users(database_url: str) -> list[str]:
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute('SELECT "userID" FROM "User"')
        return [user for (user,) in cursor.fetchall()]


def post(url: str, **headers: str) -> tuple[int, str]:
    """The status and the text of the answer to a form that would retry everything, if there were something."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, b"up_to=0", headers), timeout=30) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def run(directory: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=directory,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_whole_service_comes_up_and_ctrl_c_leaves_only_the_data(directory: Path):
    """Slow (14 s): new data is created, and the whole service starts and stops twice."""
    with running_up(directory) as up:
        first = up.servers
        [flower] = re.findall(r"http://127\.0\.0\.1:\d+", up.output)
        # Tasks may be retried from Flower's own page, and from no other.
        status, answer = post(f"{flower}/failed/retry", Origin=flower)
        assert (status, json.loads(answer)["changed"]) == (200, 0)
        assert post(f"{flower}/failed/retry", Origin="http://evil.example")[0] == 403
        with closing(redis.Redis.from_url(first["REDIS_URL"])) as client:
            client.xadd(
                "exness:dbstorage-stream",
                {"message": '{"function":"createUser","message":{"userId":"u-1","userEmail":"joe@example.com"}}'},
            )
        wait_until(lambda: users(first["DATABASE_URL"]) == ["u-1"], "the worker to store the user")
        for url in first.values():
            password = urlsplit(url).password
            assert password
            assert password not in up.output

        exported = run(directory, "env")
        assert exported.stdout == "".join(f"export {name}={url}\n" for name, url in first.items())
        assert run(directory, "up").stderr == (
            f"`dbstorage up` already runs with .dbstorage (process {up.process.pid}): stop that one first.\n"
        )

        assert up.end(signal.SIGINT) == 0
        assert "Traceback" not in up.output
        assert up.output.endswith("Everything is stopped.\n")
    assert running_servers(directory / ".dbstorage") is None

    with running_up(directory, "--no-flower") as up:
        assert up.servers == first
        assert users(first["DATABASE_URL"]) == ["u-1"]
        assert "Flower" not in up.output
        assert up.child("flower") is None
        assert up.end(signal.SIGTERM) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of others tells nobody that the parent ended")
def test_killed_it_takes_everything_along_and_can_be_started_again(directory: Path):
    with running_up(directory) as up:
        assert up.end(signal.SIGKILL) == -signal.SIGKILL
    assert running_servers(directory / ".dbstorage") is None
    with running_up(directory, "--no-flower") as up:
        assert up.end(signal.SIGINT) == 0


def test_a_worker_that_dies_is_replaced(directory: Path):
    with running_up(directory, "--no-flower") as up:
        worker = up.child("worker")
        assert worker
        worker.kill()
        wait_until(
            lambda: up.says("The worker ended by itself (signal SIGKILL); starting it again in 1 s."), "the news"
        )
        wait_until(lambda: up.child("worker"), "another worker")
        assert up.end(signal.SIGINT) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes its user")
def test_started_by_root_nothing_that_takes_commands_has_a_right_of_roots(directory: Path):
    """In a directory that is closed to others, with a Python that may be, too."""
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    with running_up(directory) as up:
        [flower] = re.findall(r"http://127\.0\.0\.1:\d+", up.output)
        with urllib.request.urlopen(f"{flower}/failed") as page:
            assert page.status == 200
        for process in up.descendants:
            assert 0 not in process.uids(), process.cmdline()
            assert capabilities(process.pid) == 0, process.cmdline()
        assert up.child("flower")
        assert up.child("worker")
        assert up.end(signal.SIGINT) == 0


def test_a_server_of_ones_own_is_used_and_the_other_started(tmp_path: Path, redis_server: EmbeddedRedis):
    with running_up(tmp_path, "--no-flower", "--directory", "elsewhere", REDIS_URL=redis_server.url) as up:
        servers = running_servers(tmp_path / "elsewhere")
        assert servers
        assert servers["REDIS_URL"] == redis_server.url
        assert users(servers["DATABASE_URL"]) == []
        assert not (tmp_path / "elsewhere" / "redis").exists()
        # What it proposes to type works elsewhere, too, and without the examples of a checkout.
        assert re.search(
            r'^  eval "\$\(\S+ env --directory elsewhere\)"\n  \S+ generate \| \S+ send -$', up.output, re.M
        )
        assert up.end(signal.SIGINT) == 0
    assert redis_server.poll() is None


def test_ctrl_c_while_it_starts_leaves_nothing_running(tmp_path: Path):
    starting = subprocess.Popen(
        [*COMMAND, "up"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    wait_until((tmp_path / ".dbstorage" / "redis" / "log").exists, "the first server to be started")
    started = psutil.Process(starting.pid).children(recursive=True)
    os.killpg(starting.pid, signal.SIGINT)
    output, _ = starting.communicate(timeout=60)
    assert output == "Stopping ...\nEverything is stopped.\n"
    assert starting.returncode == 0
    wait_until(lambda: not any(map(is_alive, started)), "the end of all that it started")


def test_a_wrong_setting_is_one_sentence_before_anything_is_started(tmp_path: Path):
    ended = run(tmp_path, "up", BATCH_SIZE="many", ORDERING="loose")
    assert ended.returncode == 2
    assert ended.stderr == (
        "BATCH_SIZE is 'many': expected a whole number from 1 to 10000.\n"
        "ORDERING is 'loose': expected one of strict, parallel.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_cannot_be_reached_stops_the_start_with_a_sentence(tmp_path: Path):
    ended = run(tmp_path, "up", DATABASE_URL="postgresql://joe:secret@127.0.0.1:1/db")
    assert ended.returncode == 3
    assert "PostgreSQL at postgresql://joe@127.0.0.1:1/db cannot be used" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "secret" not in ended.stderr + ended.stdout


def test_env_without_a_running_service_says_so(tmp_path: Path):
    ended = run(tmp_path, "env")
    assert ended.returncode == 1
    assert ended.stderr == "`dbstorage up` is not running with .dbstorage: start it first.\n"
    assert ended.stdout == ""
