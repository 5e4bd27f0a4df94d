import pytest
from sqlalchemy import text

from dbstorage.database.shape import TableShape, inspect_shape
from dbstorage.errors import DatabaseNotReadyError


def test_our_own_tables_have_the_plain_shape(migrated_database):
    with migrated_database.connect() as connection:
        assert inspect_shape(connection) == TableShape(
            schema="public",
            has_order_row_id=True,
            has_close_reason=False,
            close_reason_required=False,
            has_balance=True,
        )


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (
            'ALTER TABLE "Orders" ADD "closeReason" text',
            {"has_close_reason": True, "close_reason_required": False, "close_reason_type": None},
        ),
        (
            """ALTER TABLE "Orders" ADD "closeReason" text NOT NULL DEFAULT ''""",
            {"has_close_reason": True, "close_reason_required": True},
        ),
        (
            """
            CREATE SCHEMA "other.one"; CREATE TYPE "other.one"."Reason" AS ENUM ('manual');
            ALTER TABLE "Orders" ADD "closeReason" "other.one"."Reason"
            """,
            {"has_close_reason": True, "close_reason_type": '"other.one"."Reason"'},
        ),
        # Only a growing number tells which of two orders was written last.
        ('ALTER TABLE "Orders" DROP "id", ADD "id" text DEFAULT 1', {"has_order_row_id": False}),
        ('ALTER TABLE "Orders" ALTER "id" TYPE bigint', {"has_order_row_id": True}),
    ],
)
def test_what_differs_is_told(change, differs, migrated_database):
    with migrated_database.connect() as connection:
        connection.execute(text(change))
        shape = vars(inspect_shape(connection))
    assert {name: shape[name] for name in differs} == differs


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("DROP TABLE dbstorage.alembic_version", "is not migrated for this version of DBStorage: run alembic"),
        ("DELETE FROM dbstorage.alembic_version", "is not migrated for this version of DBStorage: run alembic"),
        ("UPDATE dbstorage.alembic_version SET version_num = '0000'", "is not migrated for this version of DBStorage"),
        ('DROP TABLE "Orders"', 'has no table "Orders" in schema "public", although it was migrated'),
        ('ALTER TABLE "Orders" DROP "symbol"', '"Orders" in schema "public": the column "symbol" is missing.'),
        ("SET LOCAL search_path = nowhere", "The schema nowhere does not exist in the database"),
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
    with empty_database.connect() as connection, pytest.raises(DatabaseNotReadyError, match="run alembic upgrade head"):
        inspect_shape(connection)
