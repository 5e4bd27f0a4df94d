"""A decoded batch waits for the one before it: whatever happens to that one, the order of the stream is kept."""

from typing import Any

import psutil
import psycopg2
import pytest

from dbstorage.batch.turn import PATIENCE
from tests.chaos.conftest import Servers, full_only
from tests.service.platform import Platform, order, question, user
from tests.service.worker import StartWorker, Worker
from tests.waiting import let_it_last, wait_until

BATCH = 50
SETTINGS = {"BATCH_SIZE": str(BATCH), "QUERY_TTL": "3600", "USER_WAIT": "60"}
#: What PostgreSQL holds up.
HELD_UP = (
    "SELECT pid, query_start FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


def two_batches(platform: Platform) -> None:
    """Send two batches of orders, each with a question behind them."""
    for batch in ("first", "second"):
        orders = [order(f"{batch}-{number}", "u") for number in range(BATCH - 1)]
        platform.send(*orders, question("u", batch, limit=2 * BATCH))


def one_runs_and_one_waits(platform: Platform, worker: Worker) -> Any:
    """Bring a worker so far that PostgreSQL holds one batch up and the next waits; to go on, close what is returned."""
    # The first read, which tells the reader how large entries are, is a small one.
    platform.send(user("u"))
    platform.wait_until_finished()
    blocker = platform.hold_orders()
    two_batches(platform)
    wait_until(lambda: platform.pending() == 2 * BATCH and platform.query(HELD_UP), "one batch to run and one to wait")
    return blocker


def check_order(platform: Platform) -> None:
    """Each question saw the orders before it, none behind it, and the answers are in order."""
    platform.wait_until_finished()
    seen = [(answer["requestId"], len(answer["orders"])) for answer in platform.answers()]
    assert seen == [("first", BATCH - 1), ("second", 2 * (BATCH - 1))]
    assert len(platform.orders()) == 2 * (BATCH - 1)
    assert platform.failed("code") == []


@pytest.mark.parametrize("number", [0, 1])
def test_the_order_is_kept_when_one_of_the_two_processes_is_killed(
    number: int, platform: Platform, start_worker: StartWorker
) -> None:
    worker = start_worker(**SETTINGS)
    blocker = one_runs_and_one_waits(platform, worker)
    worker.pool_processes[number].kill()
    wait_until(lambda: " was lost " in worker.log, "the log to tell of it")
    blocker.close()
    check_order(platform)
    assert worker.log.count(" was lost ") == 1
    assert "entries in hand was lost (Worker exited prematurely: signal 9 (SIGKILL)" in worker.log


@full_only
def test_the_order_is_kept_when_the_processes_do_not_stir_for_long(
    platform: Platform, start_worker: StartWorker
) -> None:
    """Slow (12 s): the other one gives up waiting, and its batch waits anew."""
    worker = start_worker(**SETTINGS)
    blocker = one_runs_and_one_waits(platform, worker)
    for process in worker.pool_processes:
        process.suspend()
    blocker.close()
    let_it_last(PATIENCE + 1)
    for process in worker.pool_processes:
        process.resume()
    check_order(platform)
    assert " was lost " not in worker.log


def test_the_order_is_kept_when_both_processes_are_killed(platform: Platform, start_worker: StartWorker) -> None:
    worker = start_worker(**SETTINGS)
    blocker = one_runs_and_one_waits(platform, worker)
    for process in worker.pool_processes:
        process.kill()
    # Of one that was withdrawn, because the other was noticed first, nothing is told.
    wait_until(lambda: " was lost " in worker.log, "the log to tell of it")
    blocker.close()
    check_order(platform)


def test_the_order_is_kept_when_the_worker_is_killed_and_started_again(
    platform: Platform, start_worker: StartWorker
) -> None:
    worker = start_worker(**SETTINGS)
    blocker = one_runs_and_one_waits(platform, worker)
    worker.kill()
    worker.start()
    blocker.close()
    platform.wait_until_finished()
    # Its first read is a small one again, so the batches are others, and a question sees all orders of its batch.
    assert [answer["requestId"] for answer in platform.answers()] == ["first", "second"]
    assert all(len(answer["orders"]) >= BATCH - 1 for answer in platform.answers())
    assert len(platform.orders()) == 2 * (BATCH - 1)


def test_the_order_is_kept_when_the_database_cancels_the_batch_that_runs(
    platform: Platform, start_worker: StartWorker
) -> None:
    """Its halves are tried, before the batch that waits."""
    worker = start_worker(**SETTINGS)
    blocker = one_runs_and_one_waits(platform, worker)
    [(backend, began)] = platform.query(HELD_UP)
    platform.query("SELECT pg_cancel_backend(%s)", backend)
    wait_until(lambda: [row for row in platform.query(HELD_UP) if row[1] > began], "a half of it to be tried")
    blocker.close()
    check_order(platform)


def test_questions_of_both_batches_are_told_in_order_that_the_database_is_away(
    servers: Servers, platform: Platform, start_worker: StartWorker
) -> None:
    """The questions of both batches are told so, in order, and the orders are stored afterwards."""
    worker = start_worker(**SETTINGS)
    blocker = one_runs_and_one_waits(platform, worker)
    servers.postgres.stop("immediate")
    blocker.close()
    wait_until(lambda: len(platform.answers()) == 2, "both questions to be answered")
    assert [(answer["requestId"], answer["error"]) for answer in platform.answers()] == [
        ("first", "unavailable"),
        ("second", "unavailable"),
    ]
    servers.postgres.start()
    platform.wait_until_finished()
    assert len(platform.orders()) == 2 * (BATCH - 1)


def test_the_order_is_kept_when_every_connection_to_redis_is_cut(platform: Platform, start_worker: StartWorker) -> None:
    """The broker's too: Celery then forgets its event loop and begins anew."""
    worker = start_worker(**SETTINGS)
    blocker = one_runs_and_one_waits(platform, worker)
    platform.redis.client_kill_filter(_type="normal", skipme=True)
    wait_until(lambda: "onnection to broker lost" in worker.log, "the worker to notice")
    blocker.close()
    check_order(platform)


@pytest.mark.parametrize("pool", [("-c", "1"), ("-P", "threads"), ("-P", "solo")], ids=" ".join)
def test_the_order_is_kept_in_other_pools_too(
    pool: tuple[str, str], platform: Platform, start_worker: StartWorker
) -> None:
    start_worker("worker", *pool, **SETTINGS)
    platform.send(user("u"))
    platform.wait_until_finished()
    two_batches(platform)
    check_order(platform)


#: Keeps the COMMIT of the batch with the order `held` waiting for this lock.
HELD_COMMIT = """
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    SET LOCAL lock_timeout = 0;
    PERFORM pg_advisory_xact_lock_shared(42);
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON "Orders" DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW."orderId" = 'held') EXECUTE FUNCTION hold();
"""
NOT_HELD = "DROP FUNCTION IF EXISTS hold() CASCADE"
#: The sessions of a batch that commits, and of the next one, which is written.
COMMITTING = "SELECT pid FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event_type = 'Lock'"
WRITTEN = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction' "
    "AND query LIKE '%%INSERT INTO \"Orders\"%%'"
)


@pytest.mark.parametrize("victim", ["neither", "what commits", "what is written", "both", "its session", "the worker"])
def test_orders_that_are_written_while_the_batch_before_commits_stay_behind_it(
    victim: str, platform: Platform, start_worker: StartWorker
) -> None:
    worker = start_worker(**SETTINGS, TASK_EVENTS="failures")
    platform.send(user("u"))
    platform.wait_until_finished()
    platform.query(f"{NOT_HELD}; {HELD_COMMIT}")
    ids = [f"{batch}-{number}" for batch in ("first", "second") for number in range(BATCH)]
    ids[BATCH // 2] = "held"
    blocker = psycopg2.connect(platform.database_url)
    try:
        blocker.cursor().execute("SELECT pg_advisory_xact_lock(42)")
        # In one step, so that they are read as two batches.
        platform.send(*[order(order_id, "u") for order_id in ids])
        wait_until(lambda: platform.query(COMMITTING) and platform.query(WRITTEN), "one to commit, one to be written")
        assert platform.orders() == {}
        if victim == "its session":
            platform.query("SELECT pg_terminate_backend(%s)", platform.query(COMMITTING)[0][0])
        elif victim == "the worker":
            worker.kill()
            worker.start()
        else:
            backends = {"what commits": [COMMITTING], "what is written": [WRITTEN], "both": [COMMITTING, WRITTEN]}
            for process in [client_of(platform, look) for look in backends.get(victim, [])]:
                psutil.Process(process).kill()
    finally:
        blocker.close()
    platform.wait_until_finished()
    stored = [order_id for (order_id,) in platform.query('SELECT "orderId" FROM "Orders" ORDER BY id')]
    platform.query(NOT_HELD)
    assert stored == ids
    assert platform.failed("code") == []


def test_whoever_takes_over_from_a_frozen_worker_meets_no_locks_of_what_that_has_written(
    platform: Platform, start_worker: StartWorker
) -> None:
    """Slow (8 s): the frozen one's sessions end before its lease, so nothing is put aside because of them."""
    frozen = start_worker("one", **SETTINGS)
    platform.send(user("u"))
    platform.wait_until_finished()
    start_worker("two", **SETTINGS)
    platform.query(f"{NOT_HELD}; {HELD_COMMIT}")
    # The second batch is a small one, so that whoever takes over has it together with what comes later.
    ids = ["held", *[f"o-{number}" for number in range(BATCH + BATCH // 2)]]
    later = [f"later-{number}" for number in range(BATCH)]
    blocker = psycopg2.connect(platform.database_url)
    try:
        blocker.cursor().execute("SELECT pg_advisory_xact_lock(42)")
        platform.send(*[order(order_id, "u") for order_id in ids])
        wait_until(lambda: platform.query(COMMITTING) and platform.query(WRITTEN), "one to commit, one to be written")
        with frozen.frozen():
            blocker.close()
            platform.send(*[order(order_id, "u") for order_id in later])
            wait_until(lambda: len(platform.orders()) == len(ids + later), "the other one to store them")
    finally:
        blocker.close()
    platform.wait_until_finished()
    stored = [order_id for (order_id,) in platform.query('SELECT "orderId" FROM "Orders" ORDER BY id')]
    platform.query(NOT_HELD)
    assert stored == ids + later
    assert platform.failed("code") == []


def client_of(platform: Platform, session: str) -> int:
    """The process whose session this is."""
    [(port,)] = platform.query(f"SELECT client_port FROM pg_stat_activity WHERE pid = ({session})")
    [process] = [each.pid for each in psutil.net_connections() if each.laddr and each.laddr.port == port and each.pid]
    return process
