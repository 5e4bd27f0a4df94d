from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine

from dbstorage.database.engine import create_engine
from dbstorage.database.url import parse_database_url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(parse_database_url(database_url), pool_size=4)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection
