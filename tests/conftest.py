import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import kombu.pools
import psycopg2
import pytest
import redis
from hypothesis import settings

from dbstorage.database.migrate import upgrade
from dbstorage.database.url import parse_database_url
from dbstorage.embedded.postgres import EmbeddedPostgres
from dbstorage.embedded.redis import EmbeddedRedis
from tests.scheduling import pytest_collection_modifyitems as pytest_collection_modifyitems
from tests.scheduling import pytest_xdist_make_scheduler as pytest_xdist_make_scheduler
from tests.service.platform import Platform
from tests.service.worker import StartWorker, Worker

TEMPLATE = "migrated"
#: For throw-away data. The time zone is nobody's own, so that code which leans on the server's is found out.
POSTGRES_SETTINGS = {
    "shared_buffers": "16MB",
    "max_connections": "200",
    "timezone": "Asia/Kathmandu",
}

#: `make mutants` runs tests thousands of times: a few examples find most, and each mutant meets the same ones.
settings.register_profile("mutants", max_examples=10, derandomize=True, deadline=None)
#: With other versions of Python, packages and servers.
settings.register_profile("few", max_examples=15, derandomize=True, deadline=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """What else than everything, on the servers of the wheels, can be run."""
    # `make mutants` leaves out what is slow.
    parser.addoption("--without-servers", action="store_true", help="leave out tests that need PostgreSQL or Redis")
    parser.addoption("--postgres", type=Path, metavar="DIR", help="the directory of PostgreSQL's programs to test with")
    parser.addoption("--redis", type=Path, metavar="PROGRAM", help="the Redis or Valkey server to test with")


def pytest_configure(config: pytest.Config) -> None:
    """Take the servers that are wanted, and have Ctrl-C work in what the tests start.

    `make test &` and nohup pass it on as ignored.
    """
    EmbeddedPostgres.programs_directory = config.getoption("postgres")
    EmbeddedRedis.program = config.getoption("redis")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header(config: pytest.Config) -> str:
    """Say which versions this is a test of, where they are not those of the wheels."""
    wanted = [config.getoption("postgres") and f"{config.getoption('postgres')}/postgres", config.getoption("redis")]
    told = [subprocess.check_output([program, "--version"], text=True).strip() for program in wanted if program]
    return "\n".join(told) or "servers: those of the wheels"


@pytest.fixture(scope="module", autouse=True)
def fresh_broker_pools() -> None:
    """Kombu's pools belong to the process: the server may have closed what an earlier file has left in them."""
    kombu.pools.reset()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """PostgreSQL shared by the session; a test that stops it starts its own instead."""
    # Nothing follows or archives its log, so that it need not hold each byte of a cloned database.
    settings = {**POSTGRES_SETTINGS, "wal_level": "minimal", "max_wal_senders": "0"}
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), durable=False, settings=settings)
    server.start()
    yield server
    server.stop("immediate")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """Redis shared by the session; a test that stops it starts its own instead."""
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"), durable=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated_template(postgres_server: EmbeddedPostgres) -> str:
    """The name of a migrated database to clone."""
    _execute(postgres_server, f"CREATE DATABASE {TEMPLATE}")
    upgrade(parse_database_url(postgres_server.url_of(TEMPLATE)))
    return TEMPLATE


@pytest.fixture
def database_url(postgres_server: EmbeddedPostgres, migrated_template: str) -> Iterator[str]:
    """The URL of a migrated database of the test's own, without rows."""
    yield from new_database(postgres_server, migrated_template)


@pytest.fixture
def empty_database_url(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database of the test's own, without tables."""
    yield from new_database(postgres_server, "template1")


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> str:
    """The URL of an empty Redis."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def platform(redis_url: str, database_url: str) -> Iterator[Platform]:
    """The platform on the test's own Redis and database; nothing serves it yet."""
    with closing(Platform(redis_url, database_url)) as platform:
        yield platform


@pytest.fixture
def environment(redis_url: str, database_url: str) -> dict[str, str]:
    """The environment for a process that is to use the test's Redis and database."""
    return {**os.environ, "REDIS_URL": redis_url, "DATABASE_URL": database_url}


def new_database(server: EmbeddedPostgres, template: str) -> Iterator[str]:
    """The URL of a clone of `template`, dropped at the end."""
    name = f"test_{secrets.token_hex(6)}"
    # Files are copied in a tenth of the time that pages through the log take.
    _execute(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield server.url_of(name)
    _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(server: EmbeddedPostgres, statement: str) -> None:
    with closing(psycopg2.connect(server.url_of("postgres"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)


@pytest.fixture
def start_worker(environment: dict[str, str], tmp_path: Path) -> Iterator[StartWorker]:
    """Start a worker on the test's servers; settings are given as keywords."""
    with ExitStack() as stack:

        def start(name: str = "worker", *options: str, ready: bool = True, **settings: str) -> Worker:
            worker = stack.enter_context(Worker({**environment, **settings}, tmp_path, name, *options))
            return worker.start(ready=ready)

        yield start
