import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import alembic.command
import pytest
from alembic.config import Config
from sqlalchemy import Engine

from dbstorage.database.engine import create_engine
from dbstorage.database.url import DatabaseAddress, parse_database_url

ALEMBIC_INI = Path(__file__).parents[2] / "alembic.ini"


class Migrations:
    """The alembic command's verbs on one database, inside the test's process."""

    def __init__(self, address: DatabaseAddress) -> None:
        self.address = address
        self.output = io.StringIO()

    def upgrade(self) -> None:
        alembic.command.upgrade(self._configuration(), "head")

    def downgrade(self, *extra: str) -> None:
        alembic.command.downgrade(self._configuration(extra), "base")

    def check(self) -> None:
        alembic.command.check(self._configuration())

    def _configuration(self, extra: tuple[str, ...] = ()) -> Config:
        configuration = Config(ALEMBIC_INI, stdout=self.output, cmd_opts=argparse.Namespace(x=list(extra)))
        configuration.attributes["address"] = self.address
        return configuration


@pytest.fixture
def empty_database(empty_database_url: str) -> Iterator[Engine]:
    """An engine on a database without tables."""
    engine = create_engine(parse_database_url(empty_database_url))
    yield engine
    engine.dispose()


@pytest.fixture
def migrated_database(database_url: str) -> Iterator[Engine]:
    """An engine on a migrated database without rows."""
    engine = create_engine(parse_database_url(database_url))
    yield engine
    engine.dispose()


@pytest.fixture
def migrations(empty_database_url: str) -> Migrations:
    """The migrations of the database behind `empty_database`."""
    return Migrations(parse_database_url(empty_database_url))
