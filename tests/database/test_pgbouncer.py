"""Behind a real PgBouncer that pools transactions; skipped where there is none."""

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest
from sqlalchemy import text

from dbstorage.database.engine import create_engine
from dbstorage.database.shape import inspect_shape
from dbstorage.database.url import parse_database_url
from dbstorage.embedded.postgres import EmbeddedPostgres
from dbstorage.errors import DatabaseNotReadyError
from tests.deploy.checkers import find
from tests.service.platform import Platform, order, question, user
from tests.service.worker import StartWorker
from tests.waiting import wait_until


class Pooler:
    """A PgBouncer of a test's own."""

    def __init__(self, program: str, directory: Path, postgres: EmbeddedPostgres, *settings: str) -> None:
        parts = urlsplit(postgres.url)
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        configuration = directory / "pgbouncer.ini"
        configuration.write_text(
            "\n".join(
                [
                    "[databases]",
                    f"* = host={parts.hostname} port={parts.port} user={parts.username} password={parts.password}",
                    "[pgbouncer]",
                    "listen_addr = 127.0.0.1",
                    f"listen_port = {self.port}",
                    "unix_socket_dir =",
                    "auth_type = any",
                    "pool_mode = transaction",
                    "default_pool_size = 3",
                    *settings,
                ]
            )
        )
        command = [program, str(configuration)]
        self.log = directory / "pgbouncer.log"
        with self.log.open("wb") as log:
            # It refuses to run as root.
            self.process = subprocess.Popen(command, stdout=log, stderr=log, user=65534, cwd="/")

    def url(self, database_url: str, parameters: str = "") -> str:
        database = urlsplit(database_url).path
        return f"postgresql://somebody:x@127.0.0.1:{self.port}{database}{parameters and '?' + parameters}"

    def answers(self, database_url: str) -> bool:
        with suppress(psycopg2.OperationalError), closing(psycopg2.connect(self.url(database_url))):
            return True
        return False


@pytest.fixture
def pooled(postgres_server: EmbeddedPostgres, database_url: str, request: pytest.FixtureRequest) -> Iterator[Pooler]:
    """PgBouncer, with further lines of its configuration as the parameter."""
    program = find("pgbouncer")
    # Outside of pytest's directories, which each start of pytest closes to everybody else.
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        pooler = Pooler(program, Path(directory), postgres_server, *getattr(request, "param", ()))
        try:
            wait_until(lambda: pooler.answers(database_url) or pooler.process.poll() is not None, "PgBouncer to answer")
            assert pooler.process.poll() is None, pooler.log.read_text()
            yield pooler
        finally:
            pooler.process.terminate()
            pooler.process.wait()


IGNORING = ("ignore_startup_parameters = options,extra_float_digits",)


def test_without_the_parameter_the_log_says_what_to_add(
    pooled: Pooler, platform: Platform, start_worker: StartWorker
) -> None:
    worker = start_worker(DATABASE_URL=pooled.url(platform.database_url))
    platform.send(user("u"))
    wait_until(lambda: "DATABASE_URL needs the parameter pgbouncer=true" in worker.log, "the log to say what helps")


@pytest.mark.parametrize("pooled", [IGNORING], indirect=True, ids=["options are swallowed"])
@pytest.mark.parametrize("parameters", ["", "schema=app"])
def test_a_pooler_that_swallows_the_settings_is_found_out(pooled: Pooler, database_url: str, parameters: str) -> None:
    engine = create_engine(parse_database_url(pooled.url(database_url, parameters)))
    with (
        engine.connect() as connection,
        pytest.raises(DatabaseNotReadyError, match="needs the parameter pgbouncer=true"),
    ):
        inspect_shape(connection)
    engine.dispose()


@pytest.mark.parametrize("pooled", [(), IGNORING], indirect=True, ids=["as it is", "options are swallowed"])
def test_with_the_parameter_the_whole_service_works(
    pooled: Pooler, platform: Platform, start_worker: StartWorker
) -> None:
    worker = start_worker(DATABASE_URL=pooled.url(platform.database_url, "pgbouncer=true"))
    platform.send(user("u"), *(order(f"o{number}", "u") for number in range(50)), order("o1", "u", quantity=3))
    platform.send(order("late", "v"), question("u", "q"), user("v"))
    assert len(platform.answer_to("q")["orders"]) == 50
    wait_until(lambda: len(platform.orders()) == 51, "the order that waited")
    assert "cannot" not in worker.log


def test_another_schema_is_used_behind_it(pooled: Pooler, database_url: str) -> None:
    engine = create_engine(parse_database_url(pooled.url(database_url, "schema=elsewhere&pgbouncer=true")))
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW search_path")) == '"elsewhere"'
    engine.dispose()
