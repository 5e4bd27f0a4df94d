from collections.abc import Iterator
from typing import NamedTuple

import pytest
from sqlalchemy import Engine

from dbstorage.database.engine import create_engine
from dbstorage.database.migrate import upgrade
from dbstorage.database.shape import TableShape, inspect_shape
from dbstorage.database.url import parse_database_url
from dbstorage.embedded.postgres import EmbeddedPostgres
from dbstorage.embedded.redis import EmbeddedRedis
from tests.conftest import new_database
from tests.database.prisma_tables import PrismaTables
from tests.service.platform import Platform
from tests.service.serving import served_platform

#: Our own tables have an "id"; the others' key is "orderId".
SHAPES = [None, PrismaTables(order_id_is_key=True, enums=True, close_reason=True)]


class Stored(NamedTuple):
    """A database whose "Orders" are in one of the two orders."""

    url: str
    engine: Engine
    shape: TableShape

    @property
    def key(self) -> str:
        """The column by which orders with the same closeTime are sorted."""
        return "id" if self.shape.has_order_row_id else "orderId"


@pytest.fixture(scope="module", params=SHAPES, ids=["id", "orderId"])
def stored(request: pytest.FixtureRequest, postgres_server: EmbeddedPostgres) -> Iterator[Stored]:
    """One database for all tests of a module, which therefore use users and orders of their own."""
    for url in new_database(postgres_server, "template1"):
        address = parse_database_url(url)
        engine = create_engine(address, statement_timeout=60)
        if request.param is not None:
            with engine.begin() as connection:
                request.param.create(connection)
        upgrade(address)
        with engine.connect() as connection:
            shape = inspect_shape(connection)
        yield Stored(url, engine, shape)
        engine.dispose()


@pytest.fixture(scope="module")
def platform(
    stored: Stored, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """The platform with a worker that answers however old a question is."""
    with served_platform(redis_server, stored.url, tmp_path_factory.mktemp("history"), QUERY_TTL="3600") as platform:
        yield platform
