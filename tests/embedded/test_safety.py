"""What other users of the machine, and whoever gets into a server, can do with the servers of `dbstorage up`."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis

from dbstorage.embedded.files import open_log, read_private, write_private
from dbstorage.embedded.launch import closed_directories
from dbstorage.embedded.lock import directory_lock
from dbstorage.embedded.ports import LOOPBACK
from dbstorage.embedded.postgres import EmbeddedPostgres
from dbstorage.embedded.redis import EmbeddedRedis
from dbstorage.embedded.running_servers import note_servers
from dbstorage.embedded.server import EmbeddedServer
from dbstorage.errors import EmbeddedServerError
from tests.processes import capabilities

as_root = pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root has something to give up")
NOBODY = 65534


@pytest.fixture(scope="module", params=[EmbeddedPostgres, EmbeddedRedis])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """Each server, below a directory that nobody else may enter."""
    directory = tmp_path_factory.mktemp("closed")
    server: EmbeddedServer = request.param(directory / "server", durable=False)
    server.start()
    yield server
    server._stop(server.signal_stop)


@pytest.fixture
def client(redis_server: EmbeddedRedis) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as client:
        yield client


def test_nobody_gets_into_redis_without_the_password(redis_server: EmbeddedRedis):
    with redis.Redis(host=LOOPBACK, port=redis_server.port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_the_password_stands_on_no_command_line(server: EmbeddedServer):
    assert server._password() not in " ".join(psutil.Process(server.pid).cmdline())


@pytest.mark.parametrize(
    "command",
    [
        ("MODULE", "LOAD", "/tmp/anything.so"),
        ("DEBUG", "SLEEP", "0"),
        ("CONFIG", "SET", "dir", "/tmp"),
        ("CONFIG", "SET", "dbfilename", "authorized_keys"),
    ],
)
def test_redis_neither_loads_programs_nor_writes_files_elsewhere(client: redis.Redis, command: tuple[str, ...]):
    with pytest.raises(redis.ResponseError, match=r"not allowed|protected"):
        client.execute_command(*command)  # type: ignore[no-untyped-call]


@as_root
def test_a_server_has_no_right_of_roots(server: EmbeddedServer):
    process = psutil.Process(server.pid)
    for one in (process, *process.children(recursive=True)):
        assert 0 not in one.uids()
        assert capabilities(one.pid) == 0


@as_root
def test_a_superuser_of_postgresql_reads_no_file_of_roots(postgres_server: EmbeddedPostgres):
    refused = pytest.raises(psycopg2.errors.InsufficientPrivilege, match="Permission denied")
    with closing(psycopg2.connect(postgres_server.url)) as connection, connection.cursor() as cursor, refused:
        cursor.execute("SELECT pg_read_file('/etc/shadow')")


@as_root
def test_only_the_data_belongs_to_the_server(server: EmbeddedServer):
    assert {path.name: path.stat().st_uid for path in server.directory.iterdir()} == {
        "data": psutil.Process(server.pid).uids().real, "log": 0, "password": 0, "port": 0,
    }  # fmt: skip
    assert server.directory.stat().st_uid == 0


@as_root
@pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedRedis])
def test_a_link_that_the_server_left_leads_to_no_file_of_roots(
    tmp_path: Path, kind: type[EmbeddedPostgres] | type[EmbeddedRedis]
):
    server = kind(tmp_path / "server", durable=False)
    server.start()
    server.stop()
    # As earlier versions left it: the directory belongs to the server's user, who puts links into it.
    os.chown(server.directory, NOBODY, NOBODY)
    treasures = {name: tmp_path / f"treasure-{name}" for name in ("port", "log")}
    for name, treasure in treasures.items():
        treasure.write_text("of root's")
        (server.directory / name).unlink()
    (server.directory / "port").symlink_to(treasures["port"])
    os.link(treasures["log"], server.directory / "log")
    server.start()
    server.stop()
    assert {treasure.read_text() for treasure in treasures.values()} == {"of root's"}
    assert server.directory.stat().st_uid == 0


def test_a_pipe_that_the_server_left_holds_up_no_start(tmp_path: Path):
    """Reading it would wait for a writer, without an end."""
    server = EmbeddedRedis(tmp_path / "server", durable=False)
    server.start()
    server.stop()
    (server.data / "pid").unlink(missing_ok=True)
    os.mkfifo(server.data / "pid")
    server.start()
    server.stop()


@as_root
@pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedRedis])
@pytest.mark.parametrize("name", ["server", "server/data"])
def test_a_directory_of_roots_is_not_taken_through_somebodys_link(
    tmp_path: Path, kind: type[EmbeddedPostgres] | type[EmbeddedRedis], name: str
):
    treasury = tmp_path / "treasury"
    treasury.mkdir(mode=0o700)
    theirs = tmp_path / "theirs"
    (theirs / name).parent.mkdir(parents=True, exist_ok=True)
    (theirs / name).symlink_to(treasury)
    for path in (theirs, (theirs / name).parent, theirs / name):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(EmbeddedServerError, match=f"{name}: a link that another user made"):
        kind(theirs / "server", durable=False).start()
    assert list(treasury.iterdir()) == []
    assert stat.S_IMODE(treasury.stat().st_mode) == 0o700


@as_root
def test_what_up_notes_is_not_written_through_somebodys_link(tmp_path: Path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    treasure = tmp_path / "treasure"
    treasure.write_text("of root's")
    for name in ("lock", "servers.json", "servers.json.new"):
        (theirs / name).symlink_to(treasure)
    with directory_lock(theirs):
        note_servers(theirs, "redis://127.0.0.1", "postgresql://127.0.0.1")
        # Who starts it next may be the owner.
        assert {(theirs / name).lstat().st_uid for name in ("lock", "servers.json")} == {NOBODY}
    assert treasure.read_text() == "of root's"


@as_root
def test_a_directory_that_is_somebodys_link_is_not_locked(tmp_path: Path):
    treasury = tmp_path / "treasury"
    treasury.mkdir()
    (tmp_path / "link").symlink_to(treasury)
    os.chown(tmp_path / "link", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(EmbeddedServerError, match="a link that another user made"):
        directory_lock(tmp_path / "link").__enter__()
    assert list(treasury.iterdir()) == []


def test_a_link_of_ones_own_to_a_larger_disk_is_followed(tmp_path: Path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "server").symlink_to(tmp_path / "disk")
    server = EmbeddedRedis(tmp_path / "server", durable=False)
    server.start()
    server.stop()
    assert (tmp_path / "disk" / "data").is_dir()


def test_data_of_an_earlier_layout_is_found(tmp_path: Path):
    server = EmbeddedRedis(tmp_path / "server")
    server.start()
    with redis.Redis.from_url(server.url) as client:
        client.set("key", "kept")
    server.stop()
    (server.data / "appendonlydir").rename(server.directory / "appendonlydir")
    (server.data / "pid").unlink(missing_ok=True)
    server.data.rmdir()
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.get("key") == b"kept"
    server.stop()


class TestFiles:
    """Small files beside the data."""

    def test_are_replaced_whole_and_read_by_their_owner_only(self, tmp_path: Path):
        write_private(tmp_path / "port", "1")
        write_private(tmp_path / "port", "2")
        assert read_private(tmp_path / "port") == "2"
        assert (tmp_path / "port").stat().st_mode & 0o777 == 0o600
        assert [path.name for path in tmp_path.iterdir()] == ["port"]

    def test_are_neither_read_nor_written_through_a_link(self, tmp_path: Path):
        other = tmp_path / "other"
        for link in (tmp_path.joinpath("symbolic").symlink_to, tmp_path.joinpath("hard").hardlink_to):
            other.write_text("untouched")
            link(other)
        for name in ("symbolic", "hard"):
            assert read_private(tmp_path / name) is None
            with open_log(tmp_path / name) as log:
                log.write(b"a line\n")
            assert (tmp_path / name).read_text() == "a line\n"
            write_private(tmp_path / name, "another")
        assert other.read_text() == "untouched"

    def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(self, tmp_path: Path):
        os.mkfifo(tmp_path / "pipe")
        assert read_private(tmp_path / "pipe") is None
        with open_log(tmp_path / "pipe") as log:
            log.write(b"a line\n")
        assert (tmp_path / "pipe").read_text() == "a line\n"

    def test_a_log_goes_on_where_it_was(self, tmp_path: Path):
        for line in (b"1\n", b"2\n"):
            with open_log(tmp_path / "log") as log:
                log.write(line)
        assert (tmp_path / "log").read_text() == "1\n2\n"


def test_the_way_to_a_path_is_closed_by_the_first_directory_that_may_not_be_entered(tmp_path: Path):
    inner = tmp_path / "open" / "closed" / "open" / "closed"
    inner.mkdir(parents=True)
    for directory in (*reversed(tmp_path.parents), *reversed(inner.parents)):
        if directory.is_relative_to(tmp_path):
            directory.chmod(0o700 if directory.name == "closed" else 0o755)
    user = os.geteuid() + 12345
    [(first, paths)] = closed_directories([str(inner / "file")], user, user).items()
    assert paths == [str(inner / "file")]
    assert first in {str(tmp_path / "open" / "closed"), *map(str, tmp_path.parents)}
    assert closed_directories([str(inner / "file")], os.geteuid(), os.getegid()) == {}


def test_the_log_of_postgresql_holds_no_value_of_a_refused_statement(postgres_server: EmbeddedPostgres):
    address = "joe@private.example"
    with closing(psycopg2.connect(postgres_server.url)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE people (email text PRIMARY KEY)")
        cursor.execute("INSERT INTO people VALUES (%s)", (address,))
        with pytest.raises(psycopg2.errors.UniqueViolation, match=address):
            cursor.execute("INSERT INTO people VALUES (%s)", (address,))
    log = postgres_server.log_file.read_text()
    assert "duplicate key value" in log
    assert address not in log
