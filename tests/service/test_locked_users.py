"""A row that another session has locked: only those commands wait that need it, those of one person in their order."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from click.testing import CliRunner

from dbstorage.cli import main
from tests.service.platform import Platform, order, question, user
from tests.service.worker import StartWorker
from tests.waiting import wait_until

LOCKS = [
    """SELECT FROM "User" WHERE "userID" = 'held' FOR UPDATE""",
    """DELETE FROM "User" WHERE "userID" = 'held'""",
    """UPDATE "User" SET "userID" = 'other' WHERE "userID" = 'held'""",
]


@pytest.mark.parametrize("statement", LOCKS)
def test_only_the_commands_of_this_person_wait_and_in_their_order(
    platform: Platform, start_worker: StartWorker, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = start_worker(QUERY_TTL="60")
    platform.send(user("held"), user("free"))
    platform.wait_until_finished()
    with platform.locked_by(statement) as holder:
        first = [order(f"held-{number}", "held") for number in range(5)]
        platform.send(*first, *(order(f"free-{number}", "free") for number in range(200)), question("free", "q-1"))
        assert len(platform.answer_to("q-1")["orders"]) == 100
        for number in range(20):
            platform.send(
                order(f"more-{number}", "held"), order(f"else-{number}", "free"), question("held", f"q{number}")
            )
            assert platform.answer_to(f"q{number}")["orders"] == []
        platform.wait_until_finished()
        assert len(platform.orders()) == 220
        codes = platform.query("SELECT code, count(*) FROM dbstorage.failed_tasks GROUP BY code ORDER BY code")
        assert codes == [("user_locked", 1), ("user_queued", 24)]
        [(message,)] = platform.query("SELECT message FROM dbstorage.failed_tasks WHERE code = 'user_locked'")
        process_id = holder.info.backend_pid
        [(since,)] = platform.query("SELECT date_trunc('second', xact_start AT TIME ZONE 'UTC')::text "
                                    "FROM pg_stat_activity WHERE pid = %s", process_id)  # fmt: skip
        idle = f"idle in transaction, its transaction open since {since} UTC"
        assert f'locked by session {process_id} (application "forgotten", {idle})' in message
        assert f"locked by session {process_id}" in worker.log
        for name, value in platform.environment.items():
            monkeypatch.setenv(name, value)
        assert f"locked by session {process_id}" in CliRunner().invoke(main, ["status"]).output
        holder.rollback()
    wait_until(lambda: len(platform.orders()) == 245, "the orders that waited")
    stored = platform.query("""SELECT "orderId" FROM "Orders" WHERE "userId" = 'held' ORDER BY id""")
    assert [row[0] for row in stored] == [f"held-{n}" for n in range(5)] + [f"more-{n}" for n in range(20)]
    assert set(platform.failed("state")) == {("resolved",)}


def test_a_person_that_is_being_paid_has_orders_stored_and_moves_later(
    platform: Platform, start_worker: StartWorker
) -> None:
    start_worker()
    platform.send(user("held", "held@example.com"))
    platform.wait_until_finished()
    with platform.locked_by("""UPDATE "User" SET balance = 1 WHERE "userID" = 'held'""") as holder:
        platform.send(order("before", "held"), user("moved", "held@example.com"), order("after", "moved"))
        platform.send(user("again", "held@example.com"), user("free"), order("free", "free"))
        platform.wait_until_finished()
        # The order before the move waits with it where both came in one batch.
        assert set(platform.orders()) - {"before"} == {"free"}
        holder.commit()
    wait_until(lambda: platform.users().get("again"), "the person to move")
    wait_until(lambda: len(platform.orders()) == 3, "the order that came after it")
    assert platform.orders() == {"before": "again", "after": "again", "free": "free"}
    assert platform.query("""SELECT balance FROM "User" WHERE "userID" = 'again'""") == [(1.0,)]


ANOTHERS_ORDER = """
    INSERT INTO "Orders" ("orderId", "userId", symbol, type, quantity, leverage, "openPrice", "closePrice", "openTime",
        "closeTime", "profitLoss") VALUES ('o-2', 'other', 'btc', 'buy', 1, 1, 1, 1, now(), now(), 1)
"""
OTHER_ROWS = [
    pytest.param(
        """SELECT FROM "Orders" WHERE "orderId" = 'o-1' FOR UPDATE""", user("moved", "u@x"), id="moving order"
    ),
    pytest.param("""INSERT INTO "User" ("userID", email) VALUES ('new', 'n@x')""", user("new", "e@x"), id="new user"),
    pytest.param(ANOTHERS_ORDER, order("o-2", "u"), id="new order"),
    pytest.param("SELECT FROM dbstorage.failed_tasks FOR UPDATE", user("late"), id="failed task"),
]


@pytest.mark.parametrize(("statement", "command"), OTHER_ROWS)
def test_whoever_meets_a_lock_on_another_row_waits_alone(
    platform: Platform, start_worker: StartWorker, statement: str, command: dict[str, Any]
) -> None:
    worker = start_worker(QUERY_TTL="60")
    platform.send(user("u", "u@x"), user("other", "o@x"), user("free"), order("o-1", "u"), order("o-3", "late"))
    platform.wait_until_finished()
    with platform.locked_by(statement) as holder:
        entry_id, *_ = platform.send(command, *(order(f"free-{number}", "free") for number in range(100)))
        platform.send(question("free", "q"))
        assert len(platform.answer_to("q")["orders"]) == 100
        platform.wait_until_finished()
        assert platform.failed_codes()[entry_id] == ("retrying", "user_locked")
        named = f'A row that this command needs is locked by session {holder.info.backend_pid} (application "forgotten"'
        assert worker.log.count(named) == 1
        holder.rollback()
    platform.wait_for_state(entry_id, "resolved")


@pytest.mark.parametrize("mode", ["ACCESS EXCLUSIVE", "SHARE ROW EXCLUSIVE"])
def test_a_table_of_our_own_that_is_locked_is_named_with_its_holder(
    platform: Platform, start_worker: StartWorker, mode: str
) -> None:
    worker = start_worker()
    platform.send(user("u"))
    platform.wait_until_finished()
    with platform.locked_by(f"LOCK TABLE dbstorage.positions IN {mode} MODE") as holder:
        platform.send(order("o", "u"))
        named = f'A table is locked by session {holder.info.backend_pid} (application "forgotten"'
        wait_until(lambda: named in worker.log, "the log to name the session")
        holder.rollback()
    platform.wait_until_finished()
    assert set(platform.orders()) == {"o"}


def alter(database_url: str) -> None:
    options = "-c search_path=public -c application_name=altering"
    with closing(psycopg2.connect(database_url, options=options)) as connection:
        connection.cursor().execute("""ALTER TABLE "Orders" ADD COLUMN note text""")


def test_a_table_that_somebody_waits_to_lock_is_named_with_who_waits(
    platform: Platform, start_worker: StartWorker
) -> None:
    worker = start_worker()
    platform.send(user("u"))
    platform.wait_until_finished()
    with platform.locked_by('SELECT FROM "Orders"') as reader, ThreadPoolExecutor() as other:
        altering = other.submit(alter, platform.database_url)
        wait_until(lambda: platform.query("SELECT pid FROM pg_locks WHERE NOT granted"), "the table to be waited for")
        platform.send(order("o", "u"))
        wait_until(lambda: "A table is locked by session" in worker.log, "the log to name the session")
        assert '(application "altering", active' in worker.log
        reader.rollback()
        altering.result()
    platform.wait_until_finished()
    assert set(platform.orders()) == {"o"}


def test_a_table_that_is_locked_lets_everything_wait_and_the_log_names_who_holds_it(
    platform: Platform, start_worker: StartWorker
) -> None:
    worker = start_worker()
    platform.send(user("u"))
    platform.wait_until_finished()
    with platform.locked_by('LOCK TABLE "Orders" IN ACCESS EXCLUSIVE MODE') as holder:
        platform.send(order("o", "u"))
        named = f'A table is locked by session {holder.info.backend_pid} (application "forgotten"'
        wait_until(lambda: named in worker.log, "the log to name the session")
        assert platform.failed("code") == []
        holder.rollback()
    platform.wait_until_finished()
    assert set(platform.orders()) == {"o"}
