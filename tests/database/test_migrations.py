import os
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine, text

from dbstorage.database import migrate
from dbstorage.database.engine import create_engine
from dbstorage.database.shape import NEEDED_REVISION, inspect_shape
from dbstorage.database.url import parse_database_url
from dbstorage.errors import DatabaseNotReadyError, DatabaseUnavailableError, DBStorageError
from tests.database.conftest import Migrations
from tests.database.prisma_tables import Snapshot, snapshot

ROOT = Path(__file__).parents[2]
FAILED_TASK = (
    "INSERT INTO dbstorage.failed_tasks "
    "(stream, consumer_group, life, task_id, layout, payload, code, message, state) "
    "VALUES ('s', 'g', 1, 'createUser:1-1', 'envelope', '', 'user_conflict', 'Two users.', '{}')"
)
USER = """INSERT INTO "User" ("userID", "email") VALUES ('ann', 'ann@example.com')"""


def look(database: Engine) -> Snapshot:
    with database.connect() as connection:
        return snapshot(connection)


def execute(database: Engine, statement: str) -> None:
    with database.begin() as connection:
        connection.execute(text(statement))


def start_alembic(*arguments: str, database_url: str | None) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    if database_url is not None:
        environment["DATABASE_URL"] = database_url
    return subprocess.Popen(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def alembic(*arguments: str, database_url: str | None) -> tuple[int, str]:
    with start_alembic(*arguments, database_url=database_url) as process:
        _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def test_an_empty_database_gets_the_tables_as_prisma_lays_them_out(empty_database, migrations: Migrations):
    migrations.upgrade()
    found = look(empty_database)
    constraints = {row[1:] for row in found["constraints"] if not str(row[0]).startswith("dbstorage.")}
    assert constraints == {
        ("User_pkey", "PRIMARY KEY (id)"),
        ("Orders_pkey", "PRIMARY KEY (id)"),
        (
            "Orders_userId_fkey",
            'FOREIGN KEY ("userId") REFERENCES "User"("userID") ON UPDATE CASCADE ON DELETE RESTRICT',
        ),
    }
    indexes = {name: definition for schema, name, definition in found["indexes"] if schema == "public"}
    assert {name: str(definition).partition(" USING ")[2] for name, definition in indexes.items()} == {
        "User_pkey": "btree (id)",
        "User_userID_key": 'btree ("userID")',
        "User_email_key": "btree (email)",
        "Orders_pkey": "btree (id)",
        "Orders_orderId_key": 'btree ("orderId")',
        "Orders_userId_idx": 'btree ("userId")',
        "Orders_closeTime_idx": 'btree ("closeTime" DESC)',
        "Orders_userId_closeTime_idx": 'btree ("userId", "closeTime" DESC)',
    }
    columns = {(table, name): (kind, required, default) for table, name, kind, required, default in found["columns"]}
    assert columns['"User"', "id"] == ("integer", True, "nextval('\"User_id_seq\"'::regclass)")
    assert columns['"User"', "balance"] == ("double precision", True, "10000")
    assert columns['"Orders"', "closeTime"] == ("timestamp(3) without time zone", True, None)
    assert columns['"Orders"', "stippage"] == ("double precision", False, None)


def test_upgrading_twice_changes_nothing(empty_database, migrations: Migrations):
    migrations.upgrade()
    once = look(empty_database)
    migrations.upgrade()
    assert look(empty_database) == once


def test_models_and_migrations_agree(empty_database, migrations: Migrations):
    migrations.upgrade()
    execute(empty_database, "CREATE TABLE elsewhere (id integer)")
    migrations.check()


def test_a_default_that_a_later_column_of_an_order_keeps_is_no_difference(empty_database, migrations: Migrations):
    migrations.upgrade()
    execute(empty_database, 'ALTER TABLE "Orders" ALTER "profitLoss" SET DEFAULT 0')
    migrations.check()


@pytest.mark.parametrize(
    "change",
    [
        'DROP INDEX "Orders_closeTime_idx"',
        'ALTER TABLE "Orders" DROP CONSTRAINT "Orders_userId_fkey"',
        'ALTER TABLE "User" ALTER "balance" DROP DEFAULT',
        'ALTER TABLE "Orders" ALTER "stopLoss" TYPE numeric',
        "ALTER TABLE dbstorage.failed_tasks ALTER message DROP NOT NULL",
        "CREATE TABLE dbstorage.stray (id integer)",
    ],
)
def test_a_difference_between_models_and_migrations_is_found(change, empty_database, migrations: Migrations):
    migrations.upgrade()
    execute(empty_database, change)
    with pytest.raises(CommandError, match="New upgrade operations detected"):
        migrations.check()


def test_the_newest_revision_is_the_one_the_service_asks_for():
    assert ScriptDirectory(str(ROOT / "migrations")).get_current_head() == NEEDED_REVISION


def test_a_downgrade_leaves_an_empty_database_as_it_was(empty_database, migrations: Migrations):
    before = look(empty_database)
    migrations.upgrade()
    migrations.downgrade()
    assert look(empty_database) == before
    migrations.downgrade()
    assert look(empty_database) == before


def test_a_downgrade_keeps_a_table_with_rows_and_says_so(empty_database, migrations: Migrations):
    migrations.upgrade()
    execute(empty_database, USER)
    before = look(empty_database)
    migrations.downgrade()
    after = look(empty_database)
    assert migrations.output.getvalue().splitlines() == ['The table "User" in schema "public" holds rows and was kept.']
    assert after["rows of User"] == before["rows of User"]
    assert "rows of Orders" not in after
    assert after["schemas"] == [("public",)]
    assert ("public", "User_email_key") in {row[:2] for row in after["indexes"]}


def test_a_table_once_kept_counts_as_found(empty_database, migrations: Migrations):
    migrations.upgrade()
    execute(empty_database, USER)
    migrations.downgrade()
    migrations.upgrade()
    execute(empty_database, 'DELETE FROM "User"')
    migrations.downgrade()
    assert look(empty_database)["rows of User"] == []


@pytest.mark.parametrize("state", ["failed", "retrying"])
def test_a_downgrade_does_not_lose_failed_tasks_unasked(state, empty_database, migrations: Migrations):
    migrations.upgrade()
    execute(empty_database, FAILED_TASK.format(state))
    before = look(empty_database)
    with pytest.raises(DBStorageError, match="1 failed tasks are neither resolved nor discarded"):
        migrations.downgrade()
    assert look(empty_database) == before
    migrations.downgrade("discard-failed-tasks=yes")
    assert look(empty_database)["schemas"] == [("public",)]


@pytest.mark.parametrize("state", ["resolved", "discarded"])
def test_finished_failed_tasks_do_not_hold_up_a_downgrade(state, empty_database, migrations: Migrations):
    migrations.upgrade()
    execute(empty_database, FAILED_TASK.format(state))
    migrations.downgrade()
    assert look(empty_database)["schemas"] == [("public",)]


def test_a_table_dropped_by_hand_does_not_hold_up_a_downgrade(empty_database, migrations: Migrations):
    migrations.upgrade()
    execute(empty_database, 'DROP TABLE "Orders"')
    migrations.downgrade()
    assert look(empty_database)["columns"] == []


def test_tables_are_made_in_the_schema_that_the_url_names(empty_database, empty_database_url):
    schema = 'tra"ding. 100%'
    execute(empty_database, 'CREATE SCHEMA "tra""ding. 100%"')
    address = parse_database_url(f"{empty_database_url}?schema=tra%22ding.%20100%25")
    assert migrate.describe(address)[0] == f'Create the table "User" in schema "{schema}".'
    before = look(empty_database)
    migrate.upgrade(address)
    assert "rows of User" not in look(empty_database)
    engine = create_engine(address)
    with engine.connect() as connection:
        assert inspect_shape(connection).schema == schema
    engine.dispose()
    Migrations(address).check()
    Migrations(address).downgrade()
    assert look(empty_database) == before


def test_a_schema_that_does_not_exist_is_refused(empty_database, empty_database_url):
    before = look(empty_database)
    address = parse_database_url(f"{empty_database_url}?schema=nowhere")
    for attempt in (migrate.upgrade, migrate.describe):
        with pytest.raises(DatabaseNotReadyError, match='The schema "nowhere" does not exist in the database'):
            attempt(address)
    assert look(empty_database) == before


def test_our_own_schema_is_not_given_to_the_platforms_tables(empty_database, empty_database_url):
    before = look(empty_database)
    with pytest.raises(DatabaseNotReadyError, match='The schema "dbstorage" is kept for our own tables'):
        migrate.upgrade(parse_database_url(f"{empty_database_url}?schema=dbstorage"))
    assert look(empty_database) == before


def test_a_server_that_cannot_be_reached_is_told_in_one_sentence():
    address = parse_database_url("postgresql://ann:secret@127.0.0.1:1/nothing")
    for attempt in (migrate.upgrade, migrate.describe):
        with pytest.raises(DatabaseUnavailableError) as unavailable:
            attempt(address)
        assert str(unavailable.value).startswith("PostgreSQL at postgresql://ann@127.0.0.1:1/nothing cannot be used: ")
        assert "\n" not in str(unavailable.value)
        assert "secret" not in str(unavailable.value)


def test_what_postgresql_forbids_is_told_in_one_sentence(empty_database, empty_database_url):
    database = parse_database_url(empty_database_url).url.database
    role = f"reader_of_{database}"
    execute(empty_database, f"CREATE ROLE {role} LOGIN PASSWORD 'reader'")
    try:
        url = parse_database_url(empty_database_url).url.set(username=role, password="reader", drivername="postgresql")
        address = parse_database_url(url.render_as_string(hide_password=False))
        with pytest.raises(
            DatabaseNotReadyError, match=r"refused, and nothing was changed: permission denied for .*\.$"
        ):
            migrate.upgrade(address)
    finally:
        execute(empty_database, f"DROP ROLE {role}")


def test_two_upgrades_at_once_both_succeed(empty_database, empty_database_url):
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    with empty_database.connect() as connection:
        # Held until both stand in line, so that they truly meet.
        connection.execute(text("SELECT pg_advisory_xact_lock(6870118234901775)"))
        processes = [start_alembic("upgrade", "head", database_url=empty_database_url) for _ in range(2)]
        while connection.scalar(waiting) < len(processes):
            assert all(process.poll() is None for process in processes)
        connection.rollback()
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    with empty_database.connect() as connection:
        inspect_shape(connection)


@pytest.mark.parametrize(
    ("database_url", "sentence"),
    [
        (None, "DATABASE_URL is not set: expected a URL such as postgresql://user:password@localhost/db."),
        ("mysql://ann:secret@host/db", "expected a URL that begins with postgresql:// or postgres://."),
        ("postgresql://ann:secret@host", "it names no database; expected one after the host"),
    ],
)
def test_the_command_stops_at_a_wrong_address_with_one_sentence(database_url, sentence):
    code, errors = alembic("upgrade", "head", database_url=database_url)
    assert code == 2
    assert sentence in errors
    assert len(errors.splitlines()) == 1
    assert "secret" not in errors


def test_the_command_tells_a_refusal_in_one_sentence(empty_database, empty_database_url):
    execute(empty_database, 'CREATE TABLE "User" (id integer)')
    before = look(empty_database)
    code, errors = alembic("upgrade", "head", database_url=empty_database_url)
    assert code == 1
    assert errors.splitlines()[-1] == (
        'DBStorage cannot write to "User" in schema "public": '
        'the column "userID" is missing; the column "email" is missing.'
    )
    assert "Traceback" not in errors
    assert look(empty_database) == before


def test_the_command_writes_no_sql_scripts(empty_database_url):
    code, errors = alembic("upgrade", "head", "--sql", database_url=empty_database_url)
    assert code == 1
    assert errors.splitlines() == [
        "--sql is not supported: what the migration does depends on the tables that it finds."
    ]


def test_asking_for_the_revision_changes_nothing_and_names_what_was_left_out_of_the_url(
    empty_database, empty_database_url
):
    before = look(empty_database)
    code, errors = alembic("current", database_url=f"{empty_database_url}?connection_limit=3&pool_timeout=9")
    assert code == 0
    assert "DATABASE_URL that PostgreSQL does not know are left out: connection_limit, pool_timeout" in errors
    assert look(empty_database) == before
