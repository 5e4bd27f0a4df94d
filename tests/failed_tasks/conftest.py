from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine

from dbstorage.database.engine import create_engine
from dbstorage.database.url import parse_database_url
from tests.failed_tasks.records import add, record


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(parse_database_url(database_url), pool_size=4)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def three(connection: Connection) -> list[int]:
    return add(
        connection,
        record(order_id="a", user_id="user-1", code="invalid_symbol"),
        record(
            order_id="b", user_id="user-2", code="user_not_found", state="retrying",
            message="User 'user-2' is not there.",
        ),
        record(
            order_id=None, user_id="user-2", code="user_conflict", state="resolved",
            function="createUser", task_id="createUser:9-9", message="100% of [it] belongs to somebody_else.",
            payload=b'\xff{"userEmail":"Joe@example.com"}',
        ),
    )  # fmt: skip
