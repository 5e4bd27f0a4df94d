"""What a database refuses, and who is blamed for it: the writer of a batch on real tables."""

from collections.abc import Iterator
from contextlib import closing
from math import inf
from typing import Any

import orjson
import psycopg2
import pytest
import redis
from sqlalchemy import text

from dbstorage.batch import batch_writer
from dbstorage.batch.batch_writer import BatchWriter
from dbstorage.batch.resources import SESSION_SETTINGS, Resources
from dbstorage.database.engine import create_engine
from dbstorage.database.migrate import upgrade
from dbstorage.database.url import parse_database_url
from dbstorage.errors import DatabaseFaultError
from dbstorage.settings import Settings
from dbstorage.storage.outcome import STORED, Outcome, Status
from dbstorage.storage.work import understand
from dbstorage.wire.entry import StreamEntry
from tests.service.platform import order, user


class Storage:
    """A database, and batches that are written to it."""

    def __init__(self, url: str) -> None:
        self.url = url
        address = parse_database_url(url)
        settings = Settings(redis_url="redis://nowhere", database=address, broker_url="redis://nowhere", user_wait=0)
        engine = create_engine(address, session_settings=SESSION_SETTINGS)
        self.resources = Resources(settings, engine, redis.Redis())
        self._entries = 0

    def change(self, *statements: str) -> None:
        with self.resources.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self.resources.engine.begin() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    def run(self, *commands: dict[str, Any], held: float = 0.0) -> list[Outcome | None]:
        works = []
        for command in commands:
            self._entries += 1
            works.append(understand(StreamEntry(f"{self._entries}-0", [b"message", orjson.dumps(command)]), 100))
        try:
            # A busy machine shall not decide what comes of a test.
            writer = BatchWriter(self.resources, held, splitting_seconds=60)
            writer.run(works)
        except DatabaseFaultError as error:
            self.fault = str(error)
        else:
            self.fault = ""
        return [work.outcome for work in works]

    def codes(self, *commands: dict[str, Any], held: float = 0.0) -> list[str | None]:
        """The code, or else the status, of each; None where nothing is decided."""
        outcomes = self.run(*commands, held=held)
        return [None if each is None else each.code or each.status.value for each in outcomes]

    def orders(self) -> set[str]:
        return {row[0] for row in self.rows('SELECT "orderId" FROM "Orders"')}


@pytest.fixture
def storage(database_url: str) -> Iterator[Storage]:
    found = Storage(database_url)
    yield found
    found.resources.engine.dispose()


def orders(prefix: str, count: int, **fields: Any) -> list[dict[str, Any]]:
    return [order(f"{prefix}{number}", "u", **fields) for number in range(count)]


OLD = """
INSERT INTO "User" (id, "userID", email) SELECT i, 'u' || i, 'u' || i || '@e' FROM generate_series(1, 9) i;
INSERT INTO "Orders" (id, "orderId", "userId", symbol, type, quantity, leverage, "openPrice", "closePrice", "openTime",
                      "closeTime", "profitLoss")
SELECT i, 'old' || i, 'u1', 'btc', 'buy', 1, 1, 1, 2, '2025-01-01', '2025-01-02', 1 FROM generate_series(1, 9) i
"""


def test_rows_restored_without_their_sequences_are_nobodys_fault(storage: Storage):
    storage.change(OLD)
    assert storage.codes(*(order(f"o{n}", "u1") for n in range(3))) == [None] * 3
    assert "setval(pg_get_serial_sequence('\"public\".\"Orders\"', 'id')" in storage.fault
    assert storage.codes(user("new")) == [None]
    mend = storage.fault.partition("run ")[2].rstrip(".")
    assert mend.startswith("SELECT setval(pg_get_serial_sequence('\"public\".\"User\"', 'id')")
    storage.change(mend, mend.replace("User", "Orders"))
    assert storage.codes(user("new"), order("o1", "u1"), order("o2", "new")) == ["created", "stored", "stored"]


@pytest.mark.parametrize("table", ["User", "Orders"])
@pytest.mark.parametrize("count", [1, 4])
def test_a_column_of_somebody_else_is_waited_for_while_running(storage: Storage, table: str, count: int):
    assert storage.codes(user("u"), order("first", "u")) == ["created", "stored"]
    storage.change(f'ALTER TABLE "{table}" ADD "accountId" text NOT NULL DEFAULT \'x\'')
    storage.change(f'ALTER TABLE "{table}" ALTER "accountId" DROP DEFAULT')
    commands = [user(f"v{n}") for n in range(count)] if table == "User" else orders("o", count)
    # However long it takes.
    assert storage.codes(*commands, held=999) == [None] * count
    assert 'the column "accountId" needs a value that DBStorage does not know' in storage.fault
    storage.change(f'ALTER TABLE "{table}" ALTER "accountId" SET DEFAULT 1')
    assert set(storage.codes(*commands)) == {"created" if table == "User" else "stored"}


def test_enum_labels_are_taken_in_any_case_and_also_when_they_change(storage: Storage):
    storage.change(
        "CREATE TYPE s AS ENUM ('btc', 'sol', 'eth')", 'ALTER TABLE "Orders" ALTER symbol TYPE s USING symbol::s'
    )
    assert storage.codes(user("u"), order("o1", "u")) == ["created", "stored"]
    storage.change("ALTER TYPE s RENAME VALUE 'btc' TO 'BTC'")
    same = order("o1", "u")
    assert storage.codes(order("o2", "u"), same, order("o1", "u", symbol="eth")) == [
        "stored",
        "duplicate",
        "order_conflict",
    ]
    storage.change(
        "ALTER TYPE s RENAME VALUE 'btc' TO 'bitcoin'" if False else "ALTER TYPE s RENAME VALUE 'BTC' TO 'x'"
    )
    assert storage.codes(order("o3", "u")) == [None]
    assert 'the enum public.s of the column "symbol" lacks a label for btc' in storage.fault


def test_what_its_own_values_break_fails_alone(storage: Storage):
    storage.change('ALTER TABLE "Orders" ADD CONSTRAINT positive CHECK (quantity > 0)')
    storage.run(user("u"))
    codes = storage.codes(*orders("a", 5), order("bad", "u", quantity=-1), *orders("b", 5))
    assert codes == ["stored"] * 5 + ["invalid_value"] + ["stored"] * 5
    assert storage.codes(order("bad", "u", quantity=-1)) == ["invalid_value"]


REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW."orderId" LIKE 'bad%' THEN RAISE EXCEPTION 'no' USING ERRCODE = 'STATE'; END IF; RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON "Orders" FOR EACH ROW EXECUTE FUNCTION refuse()
"""
STATES = ["22003", "22P02", "2200H", "23502", "23505", "23514", "42501", "42P01", "55000", "0A000", "P0001", "XX000"]
#: What a trigger may choose, too, and only a server that is away would mean.
STATES += ["08006", "25006", "28000", "3D000", "40001", "53100", "53300", "55P03", "57P03"]


@pytest.mark.parametrize("state", STATES)
def test_what_a_trigger_refuses_is_put_aside_where_others_pass(storage: Storage, state: str):
    storage.change(REFUSE.replace("STATE", state))
    storage.run(user("u"))
    codes = storage.codes(*orders("a", 5), *orders("bad", 2), *orders("b", 5))
    assert codes == ["stored"] * 5 + ["database_error"] * 2 + ["stored"] * 5
    assert set(storage.rows("SELECT state, code, retry_at IS NULL FROM dbstorage.failed_tasks")) == {
        ("retrying", "database_error", False)
    }


def test_what_a_trigger_raises_gets_no_advice_that_is_not_about_it(storage: Storage):
    storage.run(user("u"))
    storage.change(REFUSE.replace("STATE", "42501"))
    storage.run(order("bad", "u"))
    assert storage.fault == "The database refused it: no (SQLSTATE 42501)."


CONSTRAINTS = [
    ("CHECK (symbol = 'btc')", "has to let through what DBStorage writes"),
    ("CHECK (symbol = 'btc' OR note > '')", "is over columns that DBStorage does not write (note)"),
    ("CHECK (note > '')", "is over columns that DBStorage does not write (note)"),
    ("CHECK (false) NOT VALID", "is over columns that DBStorage does not write"),
]


@pytest.mark.parametrize(("constraint", "said"), CONSTRAINTS)
def test_a_constraint_that_nobody_is_to_blame_for_is_told_with_its_columns(
    storage: Storage, constraint: str, said: str
):
    storage.run(user("u"))
    storage.change(f"""ALTER TABLE "Orders" ADD note text NOT NULL DEFAULT '', ADD CONSTRAINT c {constraint}""")
    storage.run(order("o", "u", symbol="eth"))
    assert storage.fault.endswith(f'; the constraint "c" of "public"."Orders" {said}.')


def test_what_is_refused_alone_waits_and_is_put_aside_after_a_while(storage: Storage):
    storage.change(REFUSE.replace("STATE", "P0001"))
    storage.run(user("u"))
    assert storage.codes(order("bad", "u")) == [None]
    assert storage.fault == "The database refused it: no (SQLSTATE P0001)."
    assert storage.codes(order("bad", "u"), held=59) == [None]
    assert storage.codes(order("bad", "u"), held=61) == ["database_error"]


def test_while_all_are_refused_everything_of_this_kind_waits(storage: Storage):
    storage.change(REFUSE.replace("STATE", "P0001"))
    storage.run(user("u"))
    codes = storage.codes(*orders("bad", 20), user("v"), held=999)
    assert codes == [None] * 20 + ["created"]
    assert storage.rows("SELECT count(*) FROM dbstorage.failed_tasks") == [(0,)]
    for _ in range(20):
        codes = storage.codes(*orders("bad", 5), *orders("good", 20), held=999)
        if codes[0] is not None:
            break
    assert codes == ["database_error"] * 5 + ["stored"] * 20


def test_duplicates_do_not_show_that_others_pass(storage: Storage):
    storage.run(user("u"), *orders("bad", 3))
    storage.change(REFUSE.replace("STATE", "P0001").replace("BEFORE", "AFTER"))
    assert storage.codes(*orders("bad", 5)) == ["duplicate"] * 3 + [None] * 2


KEEP_AWAY = """
CREATE FUNCTION keep_away() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM nextval('runs');
    IF NEW."TABLE" LIKE 'away%' THEN RETURN NULL; END IF; RETURN NEW;
END $$;
"""


def test_an_order_that_a_trigger_keeps_away_has_an_outcome_of_its_own_after_one_run(storage: Storage):
    storage.change("CREATE SEQUENCE runs", KEEP_AWAY.replace("TABLE", "orderId"))
    storage.change('CREATE TRIGGER k BEFORE INSERT ON "Orders" FOR EACH ROW EXECUTE FUNCTION keep_away()')
    storage.run(user("u"))
    assert storage.codes(order("away", "u")) == ["not_stored"]
    assert storage.rows("SELECT last_value FROM runs") == [(1,)]
    codes = storage.codes(order("a", "u"), order("away2", "u"), order("b", "nobody"), order("c", "u"))
    assert codes == ["stored", "not_stored", "user_not_found", "stored"]


def test_an_order_is_also_kept_away_by_a_trigger_that_comes_while_running(storage: Storage):
    storage.run(user("u"), order("first", "u"))
    storage.change("CREATE SEQUENCE runs", KEEP_AWAY.replace("TABLE", "orderId"))
    storage.change('CREATE TRIGGER k BEFORE INSERT ON "Orders" FOR EACH ROW EXECUTE FUNCTION keep_away()')
    assert storage.codes(order("a", "u"), order("away", "u"), order("b", "nobody"))[1:] == [
        "not_stored",
        "user_not_found",
    ]


def test_a_user_that_a_trigger_keeps_away_has_the_same_outcome(storage: Storage):
    storage.change("CREATE SEQUENCE runs", KEEP_AWAY.replace("TABLE", "userID"))
    storage.change('CREATE TRIGGER k BEFORE INSERT OR UPDATE ON "User" FOR EACH ROW EXECUTE FUNCTION keep_away()')
    assert storage.codes(user("away")) == ["not_stored"]
    assert storage.rows("SELECT last_value FROM runs") == [(1,)]
    assert storage.codes(user("a"), user("away", "x@x"), user("b"), user("away2", "b@example.com")) == [
        "created",
        "not_stored",
        "created",
        "not_stored",
    ]


def test_an_index_that_we_know_nothing_of_makes_a_user_conflict_that_names_it(storage: Storage):
    storage.change('CREATE UNIQUE INDEX user_email_ci ON "User" (lower(email))')
    assert storage.codes(user("a", "A@example.com"), user("b", "b@example.com")) == ["created", "created"]
    [c, b, d] = storage.run(user("c", "a@example.com"), user("b", "a@EXAMPLE.com"), user("d"))
    assert c is not None
    assert b is not None
    assert d is not None
    assert (c.code, b.code, d.status.value) == ("user_conflict", "user_conflict", "created")
    assert '"user_email_ci"' in (c.message or "")


def test_the_same_user_from_another_program_at_the_same_moment_is_no_conflict(storage: Storage):
    # As if it came between our look and our insert: a trigger of ours does it.
    storage.change(
        """
        CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.balance <> 1 AND NOT EXISTS (SELECT FROM "User" WHERE "userID" = NEW."userID") THEN
                INSERT INTO "User" ("userID", email, balance) VALUES (NEW."userID", NEW.email, 1);
            END IF; RETURN NEW;
        END $$
        """,
        'CREATE TRIGGER other BEFORE INSERT ON "User" FOR EACH ROW EXECUTE FUNCTION other()',
    )
    # Its transaction is ours and is rolled back with it, so that we never see the row: in the end it is the index.
    assert storage.codes(user("a")) == ["user_conflict"]


def test_an_order_whose_user_vanishes_between_our_look_and_our_insert_is_looked_at_again(storage: Storage):
    # Only once: what a sequence has counted stays counted when we are rolled back.
    storage.change(
        "CREATE SEQUENCE looks",
        """
        CREATE FUNCTION vanish() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('looks') = 1 THEN DELETE FROM "User" WHERE "userID" = NEW."userId"; END IF; RETURN NEW;
        END $$
        """,
        'CREATE TRIGGER vanish BEFORE INSERT ON "Orders" FOR EACH ROW EXECUTE FUNCTION vanish()',
    )
    storage.codes(user("u"))
    assert storage.codes(order("1", "u")) == ["stored"]


REMARKS = [
    ("""CREATE TYPE r AS ENUM ('TAKE_PROFIT', 'STOP_LOSS', 'MANUAL'); ALTER TABLE "Orders" ADD "closeReason" r""",
     ["MANUAL", "MANUAL", "MANUAL", "MANUAL", "STOP_LOSS"]),
    ("""CREATE TYPE r AS ENUM ('STOP_LOSS', 'OTHER'); ALTER TABLE "Orders" ADD "closeReason" r""",
     [None, None, None, None, "STOP_LOSS"]),
    ("""CREATE TYPE r AS ENUM ('STOP_LOSS', 'OTHER'); ALTER TABLE "Orders" ADD "closeReason" r NOT NULL""",
     ["STOP_LOSS"] * 5),
    ("""CREATE TYPE r AS ENUM ('STOP_LOSS', 'OTHER');
        ALTER TABLE "Orders" ADD "closeReason" r NOT NULL DEFAULT 'OTHER'""",
     ["OTHER", "OTHER", "OTHER", "OTHER", "STOP_LOSS"]),
    ('ALTER TABLE "Orders" ADD "closeReason" varchar(10)', ["manual", "manual", "manual", "liquidatio", "stop_loss"]),
    ('ALTER TABLE "Orders" ADD "closeReason" varchar(3)', ["man", None, None, "liq", "sto"]),
    ('ALTER TABLE "Orders" ADD "closeReason" text NOT NULL',
     ["manual", "manual", "manual", "liquidation by margin call", "stop_loss"]),
    ("""ALTER TABLE "Orders" ADD "closeReason" text NOT NULL DEFAULT 'none'""",
     ["manual", "none", "none", "liquidation by margin call", "stop_loss"]),
    ("""ALTER TABLE "Orders" ADD "closeReason" text CHECK ("closeReason" IN ('manual', 'stop_loss'))""",
     ["manual", "manual", "manual", "manual", "stop_loss"]),
    ("""ALTER TABLE "Orders" ADD "closeReason" text CHECK ("closeReason" IN ('TP', 'SL'))""", [None] * 5),
    ('ALTER TABLE "Orders" ADD "closeReason" integer', [None] * 5),
]  # fmt: skip


@pytest.mark.parametrize(("change", "stored"), REMARKS, ids=range(len(REMARKS)))
def test_a_remark_never_keeps_an_order_from_its_row(storage: Storage, change: str, stored: list[str | None]):
    storage.change(change)
    reasons: list[Any] = ["manual", "", None, "liquidation by margin call", "stop_loss"]
    commands = [order(f"o{n}", "u", closeReason=reason) for n, reason in enumerate(reasons)]
    assert storage.codes(user("u"), *commands) == ["created"] + ["stored"] * 5
    assert [row[0] for row in storage.rows('SELECT "closeReason" FROM "Orders" ORDER BY "orderId"')] == stored
    assert storage.codes(*commands) == ["duplicate"] * 5


def test_a_failure_is_recorded_plainly_where_the_whole_record_is_refused(storage: Storage):
    storage.change("ALTER TABLE dbstorage.failed_tasks ADD CHECK (order_id ~ '^[ -~]*$')")
    assert storage.codes(order("ü", "nobody"), order("o", "nobody")) == ["user_not_found", "user_not_found"]
    rows = storage.rows("SELECT order_id, payload FROM dbstorage.failed_tasks ORDER BY id")
    assert [row[0] for row in rows] == ["\\xfc", "o"]
    assert orjson.loads(bytes(rows[0][1]))["message"]["orderId"] == "ü"


def test_a_failure_that_cannot_be_recorded_at_all_waits_and_holds_up_nothing_of_its_batch(storage: Storage):
    storage.change("ALTER TABLE dbstorage.failed_tasks ADD CHECK (order_id <> 'bad')", "SELECT 1")
    codes = storage.codes(user("u"), order("bad", "nobody"), order("o", "u"))
    assert codes == ["created", None, "stored"]
    assert "A failure could not be recorded" in storage.fault


def test_another_encoding_than_utf_8_fails_only_what_it_lacks(postgres_server: Any):
    with closing(psycopg2.connect(postgres_server.url_of("postgres"))) as connection:
        connection.autocommit = True
        connection.cursor().execute("DROP DATABASE IF EXISTS latin")
        connection.cursor().execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    url = postgres_server.url_of("latin")
    upgrade(parse_database_url(url))
    storage = Storage(url)
    try:
        codes = storage.codes(
            user("ü"), order("漢", "ü"), order("a", "ü"), order("b", "漢"), order("c", "ü", symbol="漢"), user("漢")
        )
        assert codes == ["created", "invalid_value", "stored", "invalid_value", "invalid_symbol", "invalid_value"]
        rows = storage.rows("SELECT order_id, code, payload FROM dbstorage.failed_tasks ORDER BY id")
        assert {(row[0], row[1]) for row in rows} == {
            ("c", "invalid_symbol"),
            ("\\u6f22", "invalid_value"),
            ("b", "invalid_value"),
            (None, "invalid_value"),
        }
        assert all("漢".encode() in bytes(row[2]) for row in rows)
    finally:
        storage.resources.engine.dispose()


SLOW = """
    CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW."orderId" LIKE 'slow%' THEN PERFORM pg_sleep(60); END IF;
        RETURN NEW;
    END $$
"""
SLOWED = 'CREATE TRIGGER slow BEFORE INSERT ON public."Orders" FOR EACH ROW EXECUTE FUNCTION public.slow()'


def test_an_order_that_takes_too_long_by_itself_holds_nothing_up_where_another_was_taken_lately(storage: Storage):
    storage.change(SLOW, SLOWED)
    assert storage.run(user("u"), order("quick", "u")) == [Outcome(Status.CREATED), STORED]
    [outcome] = storage.run(order("slow", "u"))
    assert outcome is not None
    assert (outcome.code, outcome.status, storage.fault) == ("database_error", Status.RETRYING, "")


def test_where_none_was_taken_lately_the_database_may_be_too_slow_for_all(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(batch_writer, "LATELY_SECONDS", 0)
    storage.change(SLOW, SLOWED)
    storage.run(user("u"), order("quick", "u"))
    assert storage.run(order("slow", "u")) == [None]
    assert "statement took too long" in storage.fault


#: Counts the runs of a statement that took nearly all its time.
LASTING = """
    CREATE SEQUENCE lasting;
    CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW."orderId" LIKE 'slow%' THEN
            PERFORM pg_sleep(4); PERFORM nextval('lasting'); PERFORM pg_sleep(60);
        END IF;
        RETURN NEW;
    END $$
"""


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch):
    """A busy machine shall not decide which order is slow."""
    monkeypatch.setattr(batch_writer, "HURRIED_TIMEOUT", 600)


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("places", [[70], [3, 4, 90]], ids=["one", "three"])
def test_orders_that_take_too_long_cost_the_time_of_one_statement(storage: Storage, places: list[int]):
    storage.change(LASTING, SLOWED)
    storage.run(user("u"))
    batch = [order(f"{'slow' if place in places else 'quick'}-{place}", "u") for place in range(100)]
    codes = storage.codes(*batch)
    assert [place for place, code in enumerate(codes) if code == "database_error"] == places
    assert codes.count("stored") == 100 - len(places)
    # And the next ones cost less, because it is known that there are such orders.
    codes = storage.codes(*orders("a", 20), order("slow-again", "u"), *orders("b", 20))
    assert codes == ["stored"] * 20 + ["database_error"] + ["stored"] * 20
    assert storage.rows("SELECT last_value FROM lasting") == [(1,)]


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize(("seconds", "count", "code"), [(0.02, 300, "stored"), (0.8, 8, None)])
def test_where_all_take_their_time_none_is_put_aside(storage: Storage, seconds: float, count: int, code: str | None):
    storage.change(SLOW.replace("pg_sleep(60)", f"pg_sleep({seconds})"), SLOWED)
    storage.run(user("u"))
    assert storage.codes(*orders("slow", count)) == [code] * count
    assert storage.fault == ""
    assert storage.rows("SELECT count(*) FROM dbstorage.failed_tasks") == [(0,)]
    # Alone each has all its time.
    assert storage.codes(order("slow-alone", "u")) == ["stored"]


#: What ends the session that inserts a row.
TERMINATE = "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1);"
END = """
CREATE FUNCTION end_session() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW."orderId" LIKE 'bad%' THEN WHAT END IF; RETURN NEW;
END $$;
"""
AT_ONCE = """
CREATE TRIGGER end_session BEFORE INSERT ON "Orders" FOR EACH ROW EXECUTE FUNCTION end_session()
"""
AT_COMMIT = """
CREATE CONSTRAINT TRIGGER end_session AFTER INSERT ON "Orders" DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION end_session()
"""


@pytest.mark.parametrize("when", [AT_ONCE, AT_COMMIT], ids=["at once", "at commit"])
def test_an_order_that_ends_its_session_is_put_aside_where_others_pass(storage: Storage, when: str):
    storage.change(END.replace("WHAT", TERMINATE), when)
    storage.run(user("u"))
    codes = storage.codes(*orders("a", 50), *orders("bad", 2), *orders("b", 50))
    assert codes == ["stored"] * 50 + ["database_error"] * 2 + ["stored"] * 50
    assert set(storage.rows("SELECT state, code, retry_at IS NULL FROM dbstorage.failed_tasks")) == {
        ("retrying", "database_error", False)
    }
    [message] = {row[0] for row in storage.rows("SELECT message FROM dbstorage.failed_tasks")}
    assert message.startswith("The database ended the session that ran it, each time, and answers otherwise: ")


def test_where_every_order_ends_its_session_all_of_them_wait(storage: Storage):
    storage.change(END.replace("WHAT", TERMINATE), AT_ONCE)
    assert storage.codes(user("u"), *orders("bad", 10), held=999) == ["created"] + [None] * 10
    assert "The database ended the session that ran it" in storage.fault


def test_those_that_end_their_sessions_are_found_also_where_a_job_has_no_others(storage: Storage):
    storage.change(END.replace("WHAT", TERMINATE), AT_ONCE)
    storage.run(user("u"), order("good", "u"))
    assert storage.codes(*orders("bad", 5)) == ["database_error"] * 5
    assert storage.codes(order("bad lone", "u"), held=9) == ["database_error"]
    assert storage.codes(*orders("bad again ", 5), held=9) == ["database_error"] * 5


def test_where_sessions_end_with_orders_that_were_taken_before_all_wait(storage: Storage):
    storage.run(user("u"), order("good", "u"))
    storage.change(END.replace("WHAT", TERMINATE).replace("LIKE 'bad%'", "<> ''"), AT_ONCE)
    assert storage.codes(*orders("a", 5)) == [None] * 5
    assert storage.codes(*orders("a", 5), held=9) == [None] * 5
    assert "The database ended the session that ran it" in storage.fault
    assert storage.orders() == {"good"}


USERS_TOO = """
CREATE FUNCTION end_session_of_user() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW."userID" LIKE 'bad%' THEN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER end_session BEFORE INSERT ON "User" FOR EACH ROW EXECUTE FUNCTION end_session_of_user()
"""


def test_a_lone_createuser_that_ends_its_session_keeps_nobody_waiting(storage: Storage):
    storage.change(USERS_TOO)
    storage.run(user("u"))
    assert storage.codes(user("bad"), *orders("a", 5)) == ["database_error"] + ["stored"] * 5
    assert storage.rows('SELECT "userID" FROM "User"') == [("u",)]


def test_one_that_passes_when_it_runs_again_was_cut_from_outside(storage: Storage):
    # Each of the first tries is cut: in the batch, by itself, and the try that comes at once after each.
    storage.change(
        "CREATE SEQUENCE tries", END.replace("WHAT", f"IF nextval('tries') <= 4 THEN {TERMINATE} END IF;"), AT_ONCE
    )
    storage.run(user("u"))
    assert storage.codes(*orders("a", 3), order("bad", "u"), *orders("b", 3)) == ["stored"] * 7


#: A statement within a function fails with a SQLSTATE that otherwise means that the server is away.
WITHIN = """
CREATE FUNCTION sort() RETURNS int LANGUAGE plpgsql SET temp_file_limit = '64kB' SET work_mem = '64kB' AS $$ BEGIN
    RETURN (SELECT count(*) FROM (SELECT i FROM generate_series(1, 100000) i ORDER BY -i OFFSET 1) sorted);
END $$
"""


def test_a_function_that_runs_out_of_something_is_no_outage(storage: Storage):
    storage.change(WITHIN, END.replace("WHAT", "PERFORM sort();"), AT_ONCE)
    storage.run(user("u"))
    codes = storage.codes(*orders("a", 5), *orders("bad", 2), *orders("b", 5))
    assert codes == ["stored"] * 5 + ["database_error"] * 2 + ["stored"] * 5


UNCOMMITTED = """
INSERT INTO "Orders" ("orderId", "userId", symbol, type, quantity, leverage, "openPrice", "closePrice", "openTime",
                      "closeTime", "profitLoss")
VALUES ('o200', 'u', 'btc', 'buy', 1, 1, 1, 2, '2025-01-01', '2025-01-02', 1)
"""


def test_without_a_limit_on_splitting_a_wait_for_a_lock_sets_none(storage: Storage):
    """Slow (6 s): as in a replay, which goes on behind a batch and so must leave nothing of it undecided."""
    storage.run(user("u"))
    # Its name is that of all our sessions.
    session = create_engine(storage.resources.settings.database, idle_in_transaction_timeout=60)
    with session.connect() as ours:
        # Left by a process that was killed: it has written an order and not committed yet.
        ours.execute(text(UNCOMMITTED))
        entries = [
            StreamEntry(f"{10 + number}-0", [b"message", orjson.dumps(each)])
            for number, each in enumerate(orders("o", 300))
        ]
        works = [understand(entry, 100) for entry in entries]
        writer = BatchWriter(storage.resources, splitting_seconds=inf)
        writer.run(works)
        assert [work.entry for work in works if work.outcome is None] == []
    session.dispose()
