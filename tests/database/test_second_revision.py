"""A revision behind the newest: what a column that is added later does to databases of every shape."""

from pathlib import Path

import alembic.command
import pytest
from alembic.config import Config
from sqlalchemy import Engine, text

from dbstorage.database import migrate, shape
from dbstorage.database.catalog import read_tables
from dbstorage.database.shape import DOUBLE, NEEDED_REVISION, Need
from tests.database.conftest import ALEMBIC_INI, Migrations
from tests.database.prisma_tables import PrismaTables, snapshot
from tests.database.test_adoption import SHAPES

#: As CONTRIBUTING asks: it adds the column where that is missing, and its way down needs no table.
NEXT = f'''
"""Keep what the broker charged."""

import sqlalchemy as sa
from alembic import op

revision = "{int(NEEDED_REVISION) + 1:04}"
down_revision = "{NEEDED_REVISION}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    fee = sa.Column("exampleFee", sa.Double, nullable=False, server_default=sa.text("0"))
    op.add_column("Orders", fee, if_not_exists=True)
    op.add_column("failed_tasks", sa.Column("note", sa.Text), schema="dbstorage")


def downgrade() -> None:
    op.drop_column("failed_tasks", "note", schema="dbstorage")
    op.execute('ALTER TABLE IF EXISTS "Orders" DROP COLUMN IF EXISTS "exampleFee"')
'''


@pytest.fixture
def configuration(tmp_path: Path, migrations: Migrations, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Alembic with a further revision, in a version of DBStorage that needs the column which it adds."""
    monkeypatch.setitem(shape.ORDER_NEEDS, "exampleFee", Need(DOUBLE))
    (tmp_path / "keep_example_fee.py").write_text(NEXT)
    configuration = Config(ALEMBIC_INI)
    configuration.attributes["address"] = migrations.address
    versions = ALEMBIC_INI.parent / "migrations" / "versions"
    configuration.set_main_option("path_separator", "newline")
    configuration.set_main_option("version_locations", f"{versions}\n{tmp_path}")
    return configuration


@pytest.mark.parametrize("tables", SHAPES, ids=str)
def test_a_column_that_is_added_later_comes_to_every_shape(
    tables: PrismaTables, empty_database: Engine, configuration: Config
):
    with empty_database.begin() as connection:
        tables.create(connection)
        before = snapshot(connection)
    alembic.command.upgrade(configuration, "head")
    with empty_database.connect() as connection:
        columns = connection.scalars(text('SELECT "exampleFee" FROM "Orders"')).all()
        assert columns == [0.0, 0.0]
        assert shape.refuse_columns(read_tables(connection)) is None
    alembic.command.downgrade(configuration, "base")
    with empty_database.connect() as connection:
        assert snapshot(connection) == before


def test_what_an_upgrade_would_do_is_said_of_tables_that_lack_the_column(
    empty_database: Engine, migrations: Migrations, configuration: Config, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(migrate, "_configuration", lambda: configuration)
    with empty_database.begin() as connection:
        PrismaTables().create(connection)
    *_, schema, last = migrate.describe(migrations.address)
    assert schema == 'Create the schema "dbstorage" with our own tables.'
    assert last == f"Migrate from revision 0001 to {int(NEEDED_REVISION) + 1:04}."


def test_it_comes_to_an_empty_database_too(empty_database: Engine, configuration: Config):
    alembic.command.upgrade(configuration, "head")
    with empty_database.connect() as connection:
        assert shape.refuse_columns(read_tables(connection)) is None
