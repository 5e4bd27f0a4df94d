"""`dbstorage check` as a dry run on the database: it finds what would fail, says what mends it, and changes nothing."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from click.testing import CliRunner

from dbstorage.cli import main
from dbstorage.database.engine import create_engine
from dbstorage.database.migrate import upgrade
from dbstorage.database.url import parse_database_url
from tests.database.prisma_tables import PrismaTables
from tests.service.platform import Platform


@pytest.fixture
def checked(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """The servers that the command looks at."""
    for name, value in platform.environment.items():
        monkeypatch.setenv(name, value)
    yield platform
    if role_exists(platform):
        platform.query("DROP OWNED BY app; DROP ROLE app")


def role_exists(platform: Platform) -> bool:
    return bool(platform.query("SELECT 1 FROM pg_roles WHERE rolname = 'app'"))


def check(*arguments: str) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    """The exit code, and grade and sentence of what is found, by subject."""
    result = CliRunner().invoke(main, ["check", "--json", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    found: dict[str, list[tuple[str, str]]] = {}
    for finding in json.loads(result.stdout):
        found.setdefault(finding["subject"], []).append((finding["grade"], finding["sentence"]))
    return result.exit_code, found


def problems(*arguments: str) -> str:
    code, found = check(*arguments)
    sentences = [sentence for each in found.values() for grade, sentence in each if grade == "problem"]
    assert (code == 1) is bool(sentences)
    return "\n".join(sentences)


def as_role(platform: Platform, monkeypatch: pytest.MonkeyPatch, *grants: str) -> None:
    """Let the command connect as a role that owns nothing."""
    platform.query("CREATE ROLE app LOGIN PASSWORD 'app'")
    for grant in grants:
        platform.query(grant)
    login, _, place = platform.database_url.partition("://")[2].rpartition("@")
    assert login
    monkeypatch.setenv("DATABASE_URL", f"postgresql://app:app@{place}")


SNAPSHOT = """
SELECT (SELECT json_agg(t) FROM (SELECT * FROM "User" ORDER BY id) t)::text,
       (SELECT json_agg(t) FROM (SELECT * FROM "Orders" ORDER BY id) t)::text,
       (SELECT json_agg(t) FROM (SELECT * FROM dbstorage.failed_tasks ORDER BY id) t)::text,
       (SELECT json_agg(t) FROM (SELECT * FROM dbstorage.attempts) t)::text,
       (SELECT json_agg(t) FROM (SELECT * FROM dbstorage.applied_users) t)::text,
       (SELECT json_agg(t) FROM (SELECT * FROM dbstorage.services) t)::text,
       (SELECT json_agg(t ORDER BY sequencename) FROM pg_sequences t)::text
"""


def test_nothing_is_changed_sequences_and_redis_included(checked: Platform):
    checked.query("""INSERT INTO "User" ("userID", email) VALUES ('u', 'u')""")
    checked.redis.xadd("exness:dbstorage-stream", {"message": "{}"})
    dump = {key: checked.redis.dump(key) for key in checked.redis.scan_iter()}
    before = checked.query(SNAPSHOT)
    code, found = check()
    assert code == 0, found
    assert found["Trial"][0][0] == "fine"
    assert checked.query(SNAPSHOT) == before
    assert {key: checked.redis.dump(key) for key in checked.redis.scan_iter()} == dump


def test_without_writing_there_is_no_trial(checked: Platform):
    code, found = check("--no-write")
    assert code == 0
    assert "Trial" not in found
    assert found["Sequences"] == [("fine", "All sequences are ahead of their rows.")]


SHAPES = [
    PrismaTables(),
    PrismaTables(order_id_is_key=True, enums=True, close_reason=True, no_balance=True, cascade=True),
    PrismaTables(enums=True),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_shape_passes(shape: PrismaTables, empty_database_url: str, checked: Platform, monkeypatch: Any):
    engine = create_engine(parse_database_url(empty_database_url))
    with engine.begin() as connection:
        shape.create(connection)
    engine.dispose()
    upgrade(parse_database_url(empty_database_url))
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    assert problems() == ""


CHANGES = [
    ("""INSERT INTO "User" (id, "userID", email) VALUES (7, 'a', 'a')""",
     "1 comes next and 7 is there: SELECT setval(pg_get_serial_sequence('\"public\".\"User\"', 'id'), 7);"),
    ("""ALTER SEQUENCE "Orders_id_seq" MAXVALUE 5; SELECT setval('"Orders_id_seq"', 5)""", "has 0 numbers left"),
    ("CREATE TYPE s AS ENUM ('btc', 'eth'); ALTER TABLE \"Orders\" ALTER symbol TYPE s USING symbol::s",
     'the enum public.s of the column "symbol" lacks a label for sol'),
    ('ALTER TABLE "Orders" ADD "accountId" text NOT NULL', 'the column "accountId" needs a value'),
    ('ALTER TABLE "Orders" ADD CONSTRAINT ten CHECK (quantity > 10)', '"ten"'),
    ('ALTER TABLE "User" ADD CONSTRAINT rich CHECK (balance > 99999)', '"rich"'),
    ("""CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER t BEFORE INSERT ON "Orders" FOR EACH ROW EXECUTE FUNCTION f()""",
     'the row of an order is kept away from "Orders" by a trigger or a rule'),
    ("""CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER t BEFORE INSERT ON "User" FOR EACH ROW EXECUTE FUNCTION f()""",
     'the row of a user is kept away from "User" by a trigger or a rule'),
    ("""CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''never''; END';
        CREATE CONSTRAINT TRIGGER t AFTER INSERT ON "Orders" DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION f()""", "The trial of orders went wrong. The database refused it: never"),
    ("""CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.quantity = 7; RETURN NEW; END';
        CREATE TRIGGER t BEFORE INSERT ON "Orders" FOR EACH ROW EXECUTE FUNCTION f()""",
     "stored orders do not come back as they were written"),
    ('ALTER TABLE "Orders" DROP CONSTRAINT "Orders_userId_fkey", ADD FOREIGN KEY ("userId") '
     'REFERENCES "User" ("userID")', "The trial of a move went wrong"),
    ('DROP INDEX "Orders_orderId_key"', "The trial of orders went wrong"),
    ("ALTER TABLE dbstorage.failed_tasks DROP COLUMN message", "The trial of"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), CHANGES, ids=range(len(CHANGES)))
def test_what_would_fail_is_found_and_said(checked: Platform, change: str, sentence: str):
    checked.query(change)
    assert sentence in problems()


@pytest.mark.parametrize("table", ["User", "Orders"])
def test_a_locked_table_is_named_with_who_holds_it(checked: Platform, table: str):
    with checked.locked_by(f'LOCK TABLE "{table}" IN ACCESS EXCLUSIVE MODE') as holder:
        code, found = check()
        [(grade, sentence)] = [each for each in found["Tables"] if each[0] != "fine"]
        assert f'A table is locked by session {holder.info.backend_pid} (application "forgotten"' in sentence
    assert (code, grade) == (1, "problem")
    # What is said of the server is said all the same.
    assert found["PostgreSQL"][0][0] == "fine"


def test_every_right_that_is_missing_is_named_with_its_grant(checked: Platform, monkeypatch: pytest.MonkeyPatch):
    as_role(
        checked,
        monkeypatch,
        "GRANT USAGE ON SCHEMA public, dbstorage TO app",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, dbstorage TO app",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA dbstorage TO app",
    )
    found = problems()
    assert 'GRANT USAGE ON SEQUENCE "public"."Orders_id_seq" TO "app";' in found
    assert 'GRANT USAGE ON SEQUENCE "public"."User_id_seq" TO "app";' in found
    checked.query("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO app")
    assert problems() == ""
    checked.query("REVOKE INSERT, UPDATE ON ALL TABLES IN SCHEMA public, dbstorage FROM app")
    found = problems()
    assert 'GRANT INSERT, UPDATE ON TABLE "public"."User" TO "app";' in found
    assert 'GRANT INSERT ON TABLE "public"."Orders" TO "app";' in found
    assert 'GRANT INSERT, UPDATE ON TABLE "dbstorage"."failed_tasks" TO "app";' in found


def test_a_schema_of_ours_that_is_closed_to_the_role_is_named_with_its_grant(
    checked: Platform, monkeypatch: pytest.MonkeyPatch
):
    as_role(
        checked,
        monkeypatch,
        "GRANT USAGE ON SCHEMA public TO app",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, dbstorage TO app",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public, dbstorage TO app",
    )
    grant = 'GRANT USAGE ON SCHEMA "dbstorage" TO "app";'
    assert problems() == f'The role app lacks USAGE on schema "dbstorage": {grant}'
    checked.query(grant)
    assert problems() == ""


def test_a_sequence_that_begins_again_is_a_risk(checked: Platform):
    checked.query('ALTER SEQUENCE "Orders_id_seq" CYCLE')
    code, found = check()
    assert code == 0
    [(grade, sentence)] = found["Sequences"]
    assert grade == "warning"
    assert sentence.startswith('The sequence of "public"."Orders"."id" begins again behind its last number (CYCLE)')


def test_partitioned_orders_are_refused_with_a_reason(checked: Platform):
    checked.query('DROP TABLE "Orders"; CREATE TABLE "Orders" ("orderId" text, "closeTime" timestamp(3)) '
                  'PARTITION BY RANGE ("closeTime")')  # fmt: skip
    assert (
        '"Orders" in schema "public" is partitioned, so PostgreSQL cannot keep each "orderId" to one row: '
        "DBStorage needs an ordinary table."
    ) in problems()


def test_row_security_that_hides_rows_is_a_problem_and_one_that_does_not_is_none(
    checked: Platform, monkeypatch: pytest.MonkeyPatch
):
    as_role(
        checked,
        monkeypatch,
        "GRANT USAGE ON SCHEMA public, dbstorage TO app",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, dbstorage TO app",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public, dbstorage TO app",
        'ALTER TABLE "Orders" ENABLE ROW LEVEL SECURITY',
    )
    sentence = 'Row security is on for "Orders" in schema "public" and hides rows from the role'
    assert sentence in problems()
    checked.query("""CREATE POLICY own ON "Orders" TO app USING ("userId" = 'u')""")
    assert sentence in problems()
    checked.query('CREATE POLICY all_rows ON "Orders" TO app USING (true)')
    assert problems() == ""
    checked.query("""CREATE POLICY but ON "Orders" AS RESTRICTIVE TO app USING ("userId" <> 'x')""")
    assert sentence in problems()
    checked.query("ALTER ROLE app BYPASSRLS")
    assert problems() == ""


def test_settings_of_a_role_do_not_matter(checked: Platform, monkeypatch: pytest.MonkeyPatch):
    name = checked.query("SELECT current_database()")[0][0]
    for setting in (
        "extra_float_digits = 0",
        "array_nulls = off",
        "DateStyle = 'SQL, DMY'",
        "quote_all_identifiers = on",
    ):
        checked.query(f'ALTER DATABASE "{name}" SET {setting}')
    assert problems() == ""


def test_another_encoding_is_a_problem(checked: Platform, monkeypatch: pytest.MonkeyPatch):
    other = checked.database_url.rpartition("/")[0] + "/check_latin"
    with closing(psycopg2.connect(checked.database_url)) as connection:
        connection.autocommit = True
        connection.cursor().execute("DROP DATABASE IF EXISTS check_latin")
        connection.cursor().execute("CREATE DATABASE check_latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    upgrade(parse_database_url(other))
    monkeypatch.setenv("DATABASE_URL", other)
    assert "The database's encoding is LATIN1: commands with a character that it lacks fail." in problems()


@pytest.mark.parametrize(
    "rule",
    [
        'CREATE UNIQUE INDEX surprise ON "User" (lower(email))',
        'CREATE UNIQUE INDEX surprise ON "Orders" ("userId", "closeTime")',
        'ALTER TABLE "Orders" ADD CONSTRAINT surprise EXCLUDE USING btree (quantity WITH =)',
    ],
)
def test_rules_of_uniqueness_that_are_not_of_these_tables_are_named(checked: Platform, rule: str):
    assert "Unique indexes" not in check()[1]
    checked.query(rule)
    [(grade, sentence)] = check()[1]["Unique indexes"]
    assert grade == "warning"
    assert "surprise" in sentence
