"""A server that falls silent, seen through a proxy that keeps every connection open."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import psycopg2
import pytest
from sqlalchemy import Engine, exc, text

from dbstorage.database.deadline import GRACE_SECONDS, NoReplyError
from dbstorage.database.engine import create_engine, reading
from dbstorage.database.sqlstate import ErrorClass, classify
from dbstorage.database.url import parse_database_url
from tests.chaos.proxy import Proxy

#: Seconds: short, so that the tests are.
STATEMENT_TIMEOUT = 0.5
LIMIT = STATEMENT_TIMEOUT + GRACE_SECONDS
ONE = text("SELECT 1")


@pytest.fixture
def proxy(empty_database_url: str) -> Iterator[Proxy]:
    with Proxy.to(empty_database_url) as proxy:
        yield proxy


@pytest.fixture
def engine(proxy: Proxy, empty_database_url: str) -> Iterator[Engine]:
    engine = create_engine(
        parse_database_url(f"{proxy.url(empty_database_url)}?connect_timeout=2"),
        statement_timeout=STATEMENT_TIMEOUT,
        ping=False,
    )
    yield engine
    engine.dispose()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("replies_only", [True, False], ids=["replies are lost", "all is lost"])
def test_a_silent_server_is_given_up(replies_only: bool, proxy: Proxy, engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(ONE)
        proxy.black_hole(replies_only=replies_only)
        began = time.monotonic()
        with pytest.raises(exc.OperationalError, match=r"no reply from the server within 1\.5 s") as failed:
            connection.execute(ONE)
    assert time.monotonic() - began >= LIMIT
    assert classify(failed.value) is ErrorClass.OUTAGE
    assert failed.value.connection_invalidated
    with engine.connect() as connection:
        assert connection.scalar(ONE) == 1


def test_a_commit_is_limited_too(proxy: Proxy, engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(ONE)
        proxy.black_hole()
        with pytest.raises(exc.OperationalError, match="no reply"):
            connection.commit()


def test_what_only_reads_is_limited_too(proxy: Proxy, engine: Engine) -> None:
    def read() -> None:
        with reading(engine) as connection:
            connection.execute(ONE)

    read()
    proxy.black_hole()
    with pytest.raises(exc.OperationalError, match="no reply"):
        read()
    read()


def test_a_server_that_is_silent_from_the_beginning_is_given_up(proxy: Proxy, engine: Engine) -> None:
    proxy.black_hole(new_too=True)
    with pytest.raises(exc.OperationalError, match="no reply from the server within 2 s"):
        engine.connect()
    proxy.mend()
    with engine.connect() as connection:
        assert connection.scalar(ONE) == 1


def test_a_statement_as_long_as_the_server_allows_is_waited_for(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(exc.OperationalError, match="statement timeout") as ended:
        connection.execute(text("SELECT pg_sleep(60)"))
    assert not isinstance(ended.value.orig, NoReplyError)


def test_what_moves_slowly_is_not_silent(proxy: Proxy, engine: Engine) -> None:
    """A megabyte each way takes longer than the limit."""
    with engine.connect() as connection:
        connection.execute(text("SET statement_timeout = 0"))
        proxy.bytes_per_second = 1_000_000 / (2 * LIMIT)
        began = time.monotonic()
        assert connection.scalar(text("SELECT repeat('x', 1000000)")) == "x" * 1_000_000
    assert time.monotonic() - began > LIMIT


def test_without_a_limit_on_statements_there_is_none_on_silence(empty_database_url: str) -> None:
    engine = create_engine(parse_database_url(empty_database_url), statement_timeout=None)
    with engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        assert getattr(driver, "silence_seconds", 0) is None
        assert connection.scalar(ONE) == 1
    engine.dispose()


@pytest.mark.parametrize("silent_first", [True, False])
def test_of_several_hosts_a_silent_one_is_passed_by(
    silent_first: bool, silent_port: int, empty_database_url: str
) -> None:
    parts = urlsplit(empty_database_url)
    login = parts.netloc.rpartition("@")[0]
    places = [f"127.0.0.1:{silent_port}", f"127.0.0.1:{parts.port}"]
    places = places if silent_first else places[::-1]
    url = f"postgresql://{login}@{','.join(places)}{parts.path}?connect_timeout=1"
    engine = create_engine(parse_database_url(url))
    with engine.connect() as connection:
        assert connection.scalar(ONE) == 1
    engine.dispose()


def test_several_silent_hosts_are_given_up(silent_port: int) -> None:
    url = f"postgresql://ann@127.0.0.1:{silent_port},127.0.0.1:{silent_port}/nothing?connect_timeout=1"
    engine = create_engine(parse_database_url(url))
    with pytest.raises(exc.OperationalError, match="no reply"):
        engine.connect()


def test_connections_of_others_in_the_process_have_no_limit(empty_database_url: str, engine: Engine) -> None:
    with closing(psycopg2.connect(empty_database_url)) as connection, connection.cursor() as cursor, engine.connect():
        cursor.execute("SELECT 1 FROM pg_sleep(%s)", (LIMIT + 0.2,))
        assert cursor.fetchone() == (1,)
