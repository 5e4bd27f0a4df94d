"""Whose fault a refusal is: a table of what PostgreSQL says, and what holds for anything it may say."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, exc, text

from dbstorage.database.catalog import constrained_columns
from dbstorage.database.refusal import Blame, WrittenColumns, blame, remedy
from dbstorage.database.shape import MADE_COLUMNS, ORDER_NEEDS, USER_NEEDS
from dbstorage.database.sqlstate import Diagnostics, diagnostics_of

ENTRY, DATABASE, OPEN = Blame.ENTRY, Blame.DATABASE, Blame.OPEN
ORDER_COLUMNS = frozenset({*ORDER_NEEDS, "closeReason"})
WRITTEN = WrittenColumns("public", {"User": frozenset(USER_NEEDS), "Orders": ORDER_COLUMNS}, MADE_COLUMNS)
TRIGGER = "PL/pgSQL function refuse() line 2 at RAISE"


def orders(sqlstate: str, **said: Any) -> Diagnostics:
    return Diagnostics(sqlstate, schema="public", table="Orders", **said)


def users(sqlstate: str, **said: Any) -> Diagnostics:
    return Diagnostics(sqlstate, schema="public", table="User", **said)


TABLE = [
    # A constraint or an index over columns that come from the entry: its own values.
    (orders("23514", constraint="c"), {"quantity"}, ENTRY),
    (orders("23514", constraint="c"), {"openPrice", "closePrice"}, ENTRY),
    (orders("23514", constraint="c"), {"symbol", "quantity"}, ENTRY),
    (orders("23505", constraint="i"), {"userId", "closeTime"}, ENTRY),
    (orders("23P01", constraint="x"), {"openTime", "userId"}, ENTRY),
    (orders("23503", constraint="f"), {"orderId"}, ENTRY),
    (users("23505", constraint="user_email_ci"), {"email"}, ENTRY),
    (users("23514", constraint="c"), {"email"}, ENTRY),
    (users("23505", constraint="i"), set(USER_NEEDS), ENTRY),
    # A character that the database's encoding lacks.
    (Diagnostics("22P05"), None, ENTRY),
    (Diagnostics("22021"), None, ENTRY),
    # Numbers of ours, columns of others.
    (orders("23505", constraint="Orders_pkey"), {"id"}, DATABASE),
    (users("23505", constraint="User_pkey"), {"id"}, DATABASE),
    (orders("23502", column="accountId"), None, DATABASE),
    (users("23502", column="name"), None, DATABASE),
    (users("23514", constraint="c"), {"balance"}, DATABASE),
    (orders("23503", constraint="f"), {"accountId"}, DATABASE),
    (orders("23514", constraint="never"), set(), DATABASE),
    (Diagnostics("2200H"), None, DATABASE),
    # A right, a relation, a column, a schema, a prepared statement that is missing.
    *((Diagnostics(state), None, DATABASE) for state in ("42501", "42P01", "42703", "42883", "42P10", "42704")),
    *((Diagnostics(state), None, DATABASE) for state in ("3F000", "26000", "34000", "55000", "55006")),
    # Values of our own making, columns of both sides, NULL that nobody wrote: splitting tells.
    (orders("23514", constraint="c"), {"symbol"}, OPEN),
    (orders("23503", constraint="f"), {"symbol", "type"}, OPEN),
    (orders("23505", constraint="i"), {"orderId", "tenant"}, OPEN),
    (orders("23502", column="quantity"), None, OPEN),
    (orders("23502"), None, OPEN),
    # A constraint that is gone by the time we look, or that is not named.
    (orders("23514", constraint="c"), None, OPEN),
    (orders("23514"), None, OPEN),
    # Other relations: what triggers write to, partitions, tables of that name elsewhere.
    (Diagnostics("23505", schema="public", table="Audit", constraint="Audit_pkey"), {"id"}, OPEN),
    (Diagnostics("23502", schema="public", table="Audit_2026", column="x"), None, OPEN),
    (Diagnostics("23514", schema="other", table="Orders", constraint="c"), {"quantity"}, OPEN),
    (Diagnostics("23505", schema="dbstorage", table="failed_tasks", constraint="k"), {"entry_id"}, OPEN),
    # Whatever a trigger raises.
    (Diagnostics("P0001", context=TRIGGER), None, OPEN),
    (Diagnostics("42501", context=TRIGGER), None, OPEN),
    (Diagnostics("42P01", context=TRIGGER), None, OPEN),
    (Diagnostics("2200H", context=TRIGGER), None, OPEN),
    (orders("23514", constraint="c", context=TRIGGER), {"quantity"}, OPEN),
    # Nothing is named.
    *((Diagnostics(state), None, OPEN) for state in ("22001", "22003", "22P02", "22012", "22007", "22023", "2200N")),
    *((Diagnostics(state), None, OPEN) for state in ("P0001", "P0002", "57014", "XX000", "XX001", "58030", "54000")),
    *(
        (Diagnostics(state), None, OPEN)
        for state in ("0A000", "38000", "39000", "2F003", "40002", "21000", "25P02", "")
    ),
]


@pytest.mark.parametrize(("found", "constrained", "expected"), TABLE, ids=range(len(TABLE)))
def test_diagnostics_say_whether_the_entry_or_the_database_is_to_blame(
    found: Diagnostics, constrained: set[str] | None, expected: Blame
):
    assert blame(found, WRITTEN, constrained) is expected


REMEDIES = [
    (
        orders("23505", constraint="Orders_pkey"), {"id"},
        "the numbers of the sequence are behind the rows: run SELECT setval(pg_get_serial_sequence("
        """'"public"."Orders"', 'id'), (SELECT max("id") FROM "public"."Orders"))""",
    ),
    (
        orders("23505", constraint="i"), {"accountId", "tenant", "orderId"},
        'the constraint "i" of "public"."Orders" is over columns that DBStorage does not write (accountId, tenant)',
    ),
    (
        orders("23514", constraint="c"), {"accountId"},
        'the constraint "c" of "public"."Orders" is over columns that DBStorage does not write (accountId)',
    ),
    (
        orders("23514", constraint="c"), set(),
        'the constraint "c" of "public"."Orders" is over columns that DBStorage does not write',
    ),
    (
        orders("23514", constraint="c"), {"symbol", "type"},
        'the constraint "c" of "public"."Orders" has to let through what DBStorage writes',
    ),
    (orders("23514"), {"symbol"}, ""),
    (
        Diagnostics("2200H"), None,
        "the sequence is used up: give it and its column a larger type (ALTER SEQUENCE … AS bigint)",
    ),
    (
        orders("23502", column="accountId"), None,
        'give the column "accountId" of "public"."Orders" a default, or let it take NULL',
    ),
    (orders("23502"), None, ""),
    (orders("22003", column="quantity"), None, ""),
    (Diagnostics("42501"), None, "the role in DATABASE_URL lacks a right, dbstorage grants prints what it needs"),
    (Diagnostics("57014"), None, "a statement took too long, or a table is locked"),
    (Diagnostics("XX000", constraint="c"), None, ""),
    # Whoever raised it chose the SQLSTATE.
    (Diagnostics("42501", raised=True), None, ""),
]  # fmt: skip


@pytest.mark.parametrize(("found", "constrained", "expected"), REMEDIES, ids=range(len(REMEDIES)))
def test_a_fault_of_the_database_is_told_with_what_mends_it(
    found: Diagnostics, constrained: set[str] | None, expected: str
):
    assert remedy(found, WRITTEN, constrained) == expected


names = st.sampled_from(["", "Orders", "User", "Audit", "id", "quantity", "symbol", "accountId"])
states = st.from_regex(r"[0-9A-Z]{5}", fullmatch=True) | st.sampled_from([found.sqlstate for found, _, _ in TABLE])
said = st.builds(Diagnostics, states, names, st.sampled_from(["", TRIGGER]), st.sampled_from(["public", "x"]), names)
columns = st.none() | st.sets(st.sampled_from([*ORDER_COLUMNS, "id", "accountId"]))


@given(said, columns)
def test_an_entry_is_blamed_for_nothing_but_its_own_values(found: Diagnostics, constrained: set[str] | None):
    if blame(found, WRITTEN, constrained) is ENTRY:
        assert not found.context
        named = constrained is not None and constrained <= (WRITTEN.columns.get(found.table) or set())
        assert named or found.sqlstate in ("22021", "22P05")


@given(said, columns)
def test_what_a_trigger_raises_is_left_to_splitting(found: Diagnostics, constrained: set[str] | None):
    assert blame(found._replace(context=TRIGGER), WRITTEN, constrained) is OPEN


@given(said, columns)
def test_a_remedy_is_a_part_of_a_sentence(found: Diagnostics, constrained: set[str] | None):
    mend = remedy(found, WRITTEN, constrained)
    assert "\n" not in mend
    assert not mend.endswith(".")


#: A change of the tables, a statement that it refuses, and whose fault that is.
REAL = [
    ("""INSERT INTO "User" (id, "userID", email) VALUES (1, 'a', 'a')""", "User", DATABASE),
    ('ALTER TABLE "User" ADD "name" text NOT NULL', "User", DATABASE),
    ('ALTER TABLE "User" ADD CHECK (length("userID") > 9)', "User", ENTRY),
    ('CREATE UNIQUE INDEX i ON "User" (length(email))', "User", ENTRY),
    ('CREATE UNIQUE INDEX i ON "User" (balance)', "User", DATABASE),
    ('CREATE UNIQUE INDEX i ON "User" (balance, email) WHERE "userID" IS NOT NULL', "User", None),
    ('ALTER TABLE "User" ADD EXCLUDE (length(email) WITH =)', "User", ENTRY),
    ('ALTER TABLE "User" ADD CHECK (false)', "User", DATABASE),
    ('ALTER TABLE "User" ADD CHECK (balance > 99999)', "User", DATABASE),
    ('ALTER SEQUENCE "User_id_seq" MAXVALUE 5 RESTART 5; SELECT nextval(\'"User_id_seq"\')', "", DATABASE),
    ('ALTER TABLE "User" RENAME email TO mail', "", DATABASE),
]
INSERT = """INSERT INTO "User" ("userID", email) VALUES ('b', 'b'), ('c', 'c')"""


@pytest.mark.parametrize(("change", "table", "expected"), REAL, ids=range(len(REAL)))
def test_what_postgresql_really_says_is_blamed_on_the_right_one(
    change: str, table: str, expected: Blame | None, migrated_database: Engine
):
    with migrated_database.begin() as connection:
        connection.execute(text(change))
    if expected is None:
        with migrated_database.begin() as connection:
            connection.execute(text(INSERT))
        return
    with pytest.raises(exc.DBAPIError) as raised, migrated_database.begin() as connection:
        connection.execute(text(INSERT))
    found = diagnostics_of(raised.value)
    assert found.table == table
    constrained = None
    if found.constraint:
        with migrated_database.connect() as connection:
            constrained = constrained_columns(connection, found.schema, found.table, found.constraint)
    assert blame(found, WRITTEN, constrained) is expected
    if expected is DATABASE:
        assert remedy(found, WRITTEN, constrained) or found.sqlstate == "42703"


def test_a_constraint_that_is_not_there_has_no_columns(migrated_database: Engine):
    with migrated_database.connect() as connection:
        assert constrained_columns(connection, "public", "User", "nothing") is None
        assert constrained_columns(connection, "nowhere", "User", "User_pkey") is None
        assert constrained_columns(connection, "public", "User", "User_pkey") == frozenset({"id"})
        assert constrained_columns(connection, "public", "Orders", "Orders_userId_fkey") == frozenset({"userId"})
