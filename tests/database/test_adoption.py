"""A database that Prisma made is taken over as it stands, in every shape met in the field."""

from itertools import product

import pytest
from sqlalchemy import Engine, text

from dbstorage.database.migrate import describe
from dbstorage.database.shape import inspect_shape
from dbstorage.errors import DatabaseNotReadyError
from tests.database.conftest import Migrations
from tests.database.prisma_tables import PrismaTables, Snapshot, snapshot

SHAPES = [PrismaTables(*flags) for flags in product((False, True), repeat=5)]
PLAIN = PrismaTables()
ADDED = {"Orders_userId_idx", "Orders_closeTime_idx", "Orders_userId_closeTime_idx"}


def prepare(database: Engine, tables: PrismaTables, *changes: str) -> Snapshot:
    with database.begin() as connection:
        tables.create(connection)
        for change in changes:
            connection.execute(text(change))
    return look(database)


def look(database: Engine) -> Snapshot:
    with database.connect() as connection:
        return snapshot(connection)


def order_indexes(database: Engine) -> set[str]:
    with database.connect() as connection:
        return set(connection.scalars(text("SELECT indexname FROM pg_indexes WHERE tablename = 'Orders'")))


@pytest.mark.parametrize("tables", SHAPES, ids=str)
def test_every_shape_keeps_its_tables_and_rows_up_and_down(tables, empty_database, migrations: Migrations):
    before = prepare(empty_database, tables)

    migrations.upgrade()
    after = look(empty_database)
    for part in ("schemas", "columns", "constraints", "indexes"):
        assert set(before[part]) <= set(after[part])
    assert after["types"] == before["types"]
    for part in ("rows of User", "rows of Orders"):
        # A later revision may have added columns, behind those that were there.
        width = len(before[part][0])
        assert [row[:width] for row in after[part]] == before[part]
    added = {row for row in after["indexes"] if row[0] == "public"} - set(before["indexes"])
    assert {name for _, name, _ in added} == ADDED

    migrations.upgrade()
    assert look(empty_database) == after

    migrations.downgrade()
    assert look(empty_database) == before


# Each flag changes its own part of the shape only, so one at a time and all at once will do.
@pytest.mark.parametrize("tables", [shape for shape in SHAPES if sum(vars(shape).values()) in (0, 1, 5)], ids=str)
def test_every_shape_is_recognised(tables, empty_database, migrations: Migrations):
    prepare(empty_database, tables)
    migrations.upgrade()
    with empty_database.connect() as connection:
        shape = inspect_shape(connection)
    assert shape.schema == "public"
    assert shape.has_order_row_id is not tables.order_id_is_key
    assert (shape.close_reason is not None) is tables.close_reason
    assert shape.has_balance is not tables.no_balance
    assert {name: column.type for name, column in shape.enums.items()} == (
        {"symbol": 'public."Symbol"', "type": 'public."OrderSide"'} if tables.enums else {}
    )


@pytest.mark.parametrize(
    ("index", "kept"),
    [
        pytest.param('CREATE INDEX mine ON "Orders" ("closeTime")', {"Orders_closeTime_idx"}, id="ascending"),
        pytest.param('CREATE INDEX mine ON "Orders" ("closeTime" DESC)', {"Orders_closeTime_idx"}, id="descending"),
        pytest.param(
            'CREATE INDEX mine ON "Orders" ("userId" DESC, "closeTime")', {"Orders_userId_closeTime_idx"}, id="mixed"
        ),
        pytest.param(
            'CREATE INDEX mine ON "Orders" ("userId") INCLUDE ("symbol")', {"Orders_userId_idx"}, id="include"
        ),
        pytest.param('CREATE INDEX mine ON "Orders" ("userId") WHERE "leverage" > 1', set(), id="partial"),
        pytest.param('CREATE INDEX mine ON "Orders" USING hash ("userId")', set(), id="hash"),
        pytest.param('CREATE INDEX mine ON "Orders" ("closeTime", "userId")', set(), id="other order"),
        pytest.param('CREATE INDEX mine ON "Orders" (lower("userId"))', set(), id="expression"),
        pytest.param('CREATE INDEX mine ON "Orders" ("userId" COLLATE "C")', set(), id="other collation"),
    ],
)
def test_an_index_that_serves_is_not_made_again(index, kept, empty_database, migrations: Migrations):
    prepare(empty_database, PLAIN, index)
    migrations.upgrade()
    assert order_indexes(empty_database) - {"mine", "Orders_pkey", "Orders_orderId_key"} == ADDED - kept
    migrations.downgrade()
    assert order_indexes(empty_database) == {"mine", "Orders_pkey", "Orders_orderId_key"}


def test_an_index_whose_name_is_taken_gets_another(empty_database, migrations: Migrations):
    before = prepare(empty_database, PLAIN, 'CREATE INDEX "Orders_userId_idx" ON "Orders" ("symbol")')
    migrations.upgrade()
    assert "Orders_userId_idx1" in order_indexes(empty_database)
    migrations.downgrade()
    assert look(empty_database) == before


NEEDS_A_VALUE = "needs a value that DBStorage does not know"
REFUSED = [
    ('ALTER TABLE "Orders" DROP "stippage"', '"Orders" in schema "public": the column "stippage" is missing.'),
    ('ALTER TABLE "Orders" DROP "symbol"', 'the column "symbol" is missing'),
    ('ALTER TABLE "User" DROP "email"', '"User" in schema "public": the column "email" is missing.'),
    ('ALTER TABLE "Orders" ALTER "quantity" TYPE text', '"quantity" is of type text instead of double precision'),
    ('ALTER TABLE "Orders" ALTER "leverage" TYPE real', '"leverage" is of type real instead of integer'),
    ('ALTER TABLE "Orders" ALTER "stopLoss" TYPE integer', '"stopLoss" is of type integer instead of double precision'),
    (
        'ALTER TABLE "Orders" ALTER "openTime" TYPE timestamptz(3)',
        "timestamp(3) with time zone instead of timestamp(3)",
    ),
    ('ALTER TABLE "Orders" ALTER "closeTime" TYPE timestamp(0)', "timestamp(0) without time zone instead of"),
    ('ALTER TABLE "Orders" ALTER "takeProfit" SET NOT NULL', 'the column "takeProfit" takes no NULL'),
    ('ALTER TABLE "Orders" ADD "venue" text NOT NULL', f'the column "venue" {NEEDS_A_VALUE}'),
    ('ALTER TABLE "User" ADD "name" text NOT NULL', f'the column "name" {NEEDS_A_VALUE}'),
    ('ALTER TABLE "User" ALTER "balance" DROP DEFAULT', f'the column "balance" {NEEDS_A_VALUE}'),
    (
        'ALTER TABLE "Orders" DROP "quantity", ADD "quantity" double precision GENERATED ALWAYS AS (1) STORED',
        'the column "quantity" is computed by PostgreSQL',
    ),
    ('DROP INDEX "Orders_orderId_key"', 'has no unique index on "orderId" alone'),
    ('DROP INDEX "User_email_key"', '"User" in schema "public" has no unique index on "email" alone'),
    ('ALTER TABLE "Orders" DROP CONSTRAINT "Orders_userId_fkey"', "has no foreign key"),
    (
        'ALTER TABLE "Orders" DROP CONSTRAINT "Orders_userId_fkey", '
        'ADD FOREIGN KEY ("userId") REFERENCES "User" ("userID")',
        "with ON UPDATE CASCADE",
    ),
    ('DROP TABLE "User" CASCADE', "has no foreign key"),
    ('DROP TABLE "Orders"; CREATE VIEW "Orders" AS SELECT 1 AS "orderId"', "is not an ordinary table"),
]


@pytest.mark.parametrize(("change", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_a_table_that_we_could_not_work_with_is_refused_and_nothing_changes(
    change, sentence, empty_database, migrations: Migrations
):
    before = prepare(empty_database, PLAIN, 'DELETE FROM "Orders"; DELETE FROM "User"', change)
    for attempt in (migrations.upgrade, lambda: describe(migrations.address)):
        with pytest.raises(DatabaseNotReadyError) as refusal:
            attempt()
        assert sentence in str(refusal.value)
        assert "\n" not in str(refusal.value)
    assert look(empty_database) == before


def test_all_that_is_wrong_with_a_table_is_said_at_once(empty_database, migrations: Migrations):
    prepare(empty_database, PLAIN, 'ALTER TABLE "Orders" DROP "stippage", DROP "leverage"')
    with pytest.raises(DatabaseNotReadyError) as refusal:
        migrations.upgrade()
    assert str(refusal.value) == (
        'DBStorage cannot write to "Orders" in schema "public": '
        'the column "leverage" is missing; the column "stippage" is missing.'
    )


ACCEPTED = [
    'ALTER TABLE "Orders" ADD "note" text',
    'ALTER TABLE "Orders" ADD "created" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP',
    'ALTER TABLE "User" ADD "name" text, ADD "number" integer GENERATED ALWAYS AS IDENTITY',
    'ALTER TABLE "Orders" ALTER "orderId" TYPE varchar(255), ALTER "userId" TYPE varchar(255)',
    'ALTER TABLE "Orders" ALTER "leverage" TYPE bigint, ALTER "openTime" TYPE timestamp(6)',
    'ALTER TABLE "Orders" ADD "closeReason" "Symbol"',
    """ALTER TABLE "Orders" ADD "closeReason" text NOT NULL DEFAULT ''""",
    'DROP INDEX "Orders_orderId_key"; ALTER TABLE "Orders" ADD CONSTRAINT mine UNIQUE ("orderId")',
]


@pytest.mark.parametrize("change", ACCEPTED, ids=range(len(ACCEPTED)))
def test_what_does_not_stand_in_our_way_is_left_alone(change, empty_database, migrations: Migrations):
    before = prepare(empty_database, PLAIN, change)
    migrations.upgrade()
    with empty_database.connect() as connection:
        inspect_shape(connection)
    migrations.downgrade()
    assert look(empty_database) == before


def test_a_missing_orders_table_is_created_beside_the_users_that_are_there(empty_database, migrations: Migrations):
    before = prepare(empty_database, PLAIN, 'DROP TABLE "Orders"')
    assert describe(migrations.address)[:2] == [
        'Create the table "Orders" in schema "public".',
        'Create the schema "dbstorage" with our own tables.',
    ]
    migrations.upgrade()
    after = look(empty_database)
    assert after["rows of User"] == before["rows of User"]
    assert after["rows of Orders"] == []
    migrations.downgrade()
    assert look(empty_database) == before


def test_what_an_upgrade_would_do_is_said_and_not_done(empty_database, migrations: Migrations):
    before = prepare(empty_database, PLAIN, 'CREATE INDEX mine ON "Orders" ("userId")')
    assert describe(migrations.address)[:3] == [
        'Add the index "Orders_closeTime_idx" to "Orders" in schema "public" (its writers wait meanwhile).',
        'Add the index "Orders_userId_closeTime_idx" to "Orders" in schema "public" (its writers wait meanwhile).',
        'Create the schema "dbstorage" with our own tables.',
    ]
    assert look(empty_database) == before
    migrations.upgrade()
    assert describe(migrations.address) == []
