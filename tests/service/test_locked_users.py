"""A row of "User" that another session has locked: that person's commands wait in their order, nobody else's do."""

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
        assert f'locked by session {process_id} (application "forgotten", idle in transaction' in message
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
