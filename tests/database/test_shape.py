import pytest
from sqlalchemy import text

from dbstorage.database.shape import CloseReasonColumn, EnumColumn, TableShape, inspect_shape
from dbstorage.errors import DatabaseNotReadyError


def reason(
    type_name: str, length: int | None = None, otherwise: str = "NULL", labels: dict[str, str] | None = None
) -> CloseReasonColumn:
    return CloseReasonColumn(type_name, EnumColumn(type_name, labels) if labels else None, length, otherwise)


def test_our_own_tables_have_the_plain_shape(migrated_database):
    with migrated_database.connect() as connection:
        assert inspect_shape(connection) == TableShape(
            schema="public",
            has_order_row_id=True,
            has_balance=True,
        )


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (
            'ALTER TABLE "Orders" ADD "closeReason" text',
            {"close_reason": CloseReasonColumn("text", otherwise="'manual'")},
        ),
        (
            """ALTER TABLE "Orders" ADD "closeReason" varchar(10) NOT NULL DEFAULT ''""",
            {"close_reason": CloseReasonColumn("character varying(10)", None, 10, "(''::character varying)")},
        ),
        ('ALTER TABLE "Orders" ADD "closeReason" varchar(3)', {"close_reason": reason("character varying(3)", 3)}),
        (
            'ALTER TABLE "Orders" ADD "closeReason" varchar(3) NOT NULL',
            {"close_reason": reason("character varying(3)", 3, "'man'")},
        ),
        (
            """
            CREATE SCHEMA "other.one"; CREATE TYPE "other.one"."Reason" AS ENUM ('STOP', 'MANUAL');
            ALTER TABLE "Orders" ADD "closeReason" "other.one"."Reason"
            """,
            {"close_reason": reason('"other.one"."Reason"', None, "'MANUAL'", {"stop": "STOP", "manual": "MANUAL"})},
        ),
        (
            """
            CREATE TYPE "Reason" AS ENUM ('STOP', 'TAKE'); ALTER TABLE "Orders" ADD "closeReason" "Reason" NOT NULL
            """,
            {"close_reason": reason('public."Reason"', None, "'STOP'", {"stop": "STOP", "take": "TAKE"})},
        ),
        # What takes no text is left alone.
        ('ALTER TABLE "Orders" ADD "closeReason" integer', {"close_reason": None}),
        ("""ALTER TABLE "Orders" ADD "closeReason" jsonb NOT NULL DEFAULT '{}'""", {"close_reason": None}),
        (
            'CREATE TRIGGER t BEFORE INSERT ON "Orders" FOR EACH ROW '
            "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            {"may_keep_orders_away": True},
        ),
        (
            "CREATE TYPE s AS ENUM ('ETH', 'BTC', 'btc', 'Sol', 'doge'); "
            'ALTER TABLE "Orders" ALTER symbol TYPE s USING symbol::s',
            {"enums": {"symbol": EnumColumn("public.s", {"eth": "ETH", "btc": "btc", "sol": "Sol", "doge": "doge"})}},
        ),
        # Only a growing number tells which of two orders was written last.
        ('ALTER TABLE "Orders" DROP "id", ADD "id" text DEFAULT 1', {"has_order_row_id": False}),
        ('ALTER TABLE "Orders" ALTER "id" TYPE bigint', {"has_order_row_id": True}),
    ],
)
def test_a_table_that_differs_from_prismas_is_seen_as_it_is(change, differs, migrated_database):
    with migrated_database.connect() as connection:
        connection.execute(text(change))
        shape = vars(inspect_shape(connection))
    assert {name: shape[name] for name in differs} == differs


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            "DROP TABLE dbstorage.alembic_version",
            "is not migrated for this version of DBStorage: run dbstorage migrate",
        ),
        (
            "DELETE FROM dbstorage.alembic_version",
            "is not migrated for this version of DBStorage: run dbstorage migrate",
        ),
        ("UPDATE dbstorage.alembic_version SET version_num = '0000'", "is not migrated for this version of DBStorage"),
        ('DROP TABLE "Orders"', 'has no table "Orders" in schema "public", although it was migrated'),
        ('ALTER TABLE "Orders" DROP "symbol"', '"Orders" in schema "public": the column "symbol" is missing.'),
        (
            """CREATE TYPE s AS ENUM ('BTC', 'eth'); ALTER TABLE "Orders" ALTER symbol TYPE s USING symbol::s""",
            'the enum public.s of the column "symbol" lacks a label for sol.',
        ),
        ('ALTER TABLE "Orders" ADD "closeReason" integer NOT NULL', 'the column "closeReason" needs a value'),
        ("SET LOCAL search_path = nowhere", "The schema nowhere does not exist in the database"),
        ("SET LOCAL search_path = public, pg_catalog", "DATABASE_URL needs the parameter pgbouncer=true"),
        ("SET LOCAL dbstorage.session = off", "The settings of our session do not reach PostgreSQL"),
        ("SET LOCAL search_path = dbstorage", 'The schema "dbstorage" is kept for our own tables'),
    ],
)
def test_a_database_that_is_not_ready_says_why_in_one_sentence(change, sentence, migrated_database):
    with migrated_database.connect() as connection:
        connection.execute(text(change))
        with pytest.raises(DatabaseNotReadyError) as error:
            inspect_shape(connection)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_database_migrated_by_a_newer_version_serves_too(migrated_database):
    with migrated_database.connect() as connection:
        connection.execute(text("UPDATE dbstorage.alembic_version SET version_num = '0002'"))
        assert inspect_shape(connection).schema == "public"


def test_an_empty_database_is_not_ready(empty_database):
    with empty_database.connect() as connection, pytest.raises(DatabaseNotReadyError, match="run dbstorage migrate"):
        inspect_shape(connection)
