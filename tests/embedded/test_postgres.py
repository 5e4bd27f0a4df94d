import os
import signal
import socket
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import psycopg2
import pytest

from dbstorage.embedded.ports import LOOPBACK
from dbstorage.embedded.postgres import EmbeddedPostgres
from dbstorage.errors import EmbeddedServerError
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def durable_server(tmp_path_factory: pytest.TempPathFactory):
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgresql") / "data")
    yield server
    server.stop("immediate")


@pytest.fixture
def server(durable_server: EmbeddedPostgres) -> EmbeddedPostgres:
    durable_server.start()
    return durable_server


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_rows_survive_stop_immediate_stop_and_kill_and_the_url_stays(server: EmbeddedPostgres):
    url = server.url
    query(url, "CREATE TABLE kept (number integer)")
    for number, end in enumerate([server.stop, lambda: server.stop("immediate"), server.kill]):
        query(url, f"INSERT INTO kept VALUES ({number})")
        end()
        assert server.poll() is not None
        server.start()
    assert server.url == url
    assert query(url, "SELECT number FROM kept ORDER BY number") == [(0,), (1,), (2,)]


def test_starting_a_running_server_does_nothing(server: EmbeddedPostgres):
    pid = server.pid
    server.start()
    assert server.pid == pid


def test_data_is_written_to_disk_unless_it_is_thrown_away_anyway(server: EmbeddedPostgres, postgres_server):
    assert query(server.url, "SHOW fsync") == [("on",)]
    assert query(postgres_server.url, "SHOW fsync") == [("off",)]


def test_nobody_gets_in_without_the_password_or_from_another_machine(server: EmbeddedPostgres):
    with pytest.raises(psycopg2.OperationalError, match="no password supplied"):
        query(f"postgresql://dbstorage@{LOOPBACK}:{server.port}/dbstorage", "SELECT 1")
    assert query(server.url, "SHOW listen_addresses") == [(LOOPBACK,)]
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root must change its user")
def test_root_starts_it_as_somebody_else_below_a_closed_directory(tmp_path: Path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(closed / "postgresql", durable=False)
    server.start()
    try:
        assert 0 not in psutil.Process(server.pid).uids()
        assert query(server.url, "SELECT current_user") == [("dbstorage",)]
    finally:
        server.stop()
    assert closed.stat().st_uid == 0
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_a_taken_port_is_left_alone(server: EmbeddedPostgres):
    server.stop()
    taken = server.port
    with socket.create_server((LOOPBACK, taken)):
        server.start()
        assert server.port != taken
        assert query(server.url, "SELECT 1") == [(1,)]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of others tells nobody that the parent ended")
def test_it_ends_with_its_starter_and_starts_again_with_its_rows(tmp_path: Path):
    program = (
        "import os, pathlib, signal; from dbstorage.embedded.postgres import EmbeddedPostgres\n"
        "server = EmbeddedPostgres(pathlib.Path('data')); server.start(); print(server.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    starter = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, stdout=subprocess.PIPE)
    assert starter.returncode == -signal.SIGKILL
    pid = int(starter.stdout)

    # Started again at once: a server that is still about to end is waited for.
    server = EmbeddedPostgres(tmp_path / "data")
    server.start()
    try:
        assert server.pid != pid
        wait_until(lambda: not is_running(pid), "the end of the orphan")
        assert query(server.url, "SELECT 1") == [(1,)]
    finally:
        server.stop("immediate")


def test_a_pid_file_that_names_another_program_is_no_obstacle(server: EmbeddedPostgres):
    server.stop()
    (server.data / "postmaster.pid").write_text(f"{os.getpid()}\n{server.data}\n")
    server.start()
    assert query(server.url, "SELECT 1") == [(1,)]


def test_an_interrupted_first_start_is_repeated(tmp_path: Path):
    (tmp_path / "data.unfinished" / "base").mkdir(parents=True)
    server = EmbeddedPostgres(tmp_path, durable=False)
    server.start()
    try:
        assert query(server.url, "SELECT 1") == [(1,)]
    finally:
        server.stop("immediate")


def test_version_16_can_be_had_and_is_kept(tmp_path: Path):
    first = EmbeddedPostgres(tmp_path, version=16, durable=False)
    first.start()
    try:
        assert str(query(first.url, "SHOW server_version")[0][0]).startswith("16.")
    finally:
        first.stop()
    with pytest.raises(EmbeddedServerError, match="was written by PostgreSQL 16, which cannot be used as 18"):
        EmbeddedPostgres(tmp_path, version=18).start()
    again = EmbeddedPostgres(tmp_path, durable=False)
    again.start()
    again.stop()


def test_what_the_server_complains_about_is_in_the_error(tmp_path: Path):
    server = EmbeddedPostgres(tmp_path, durable=False, settings={"shared_buffers": "much"})
    with pytest.raises(EmbeddedServerError, match=r'(?s)PostgreSQL does not start: .*"shared_buffers": "much"'):
        server.start()


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
