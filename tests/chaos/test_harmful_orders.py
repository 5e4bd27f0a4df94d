"""An order that harms its session in the database, or the server, is put aside, and its neighbours are stored."""

from collections.abc import Iterator
from contextlib import suppress

import psycopg2
import pytest

from tests.chaos.conftest import Servers, full_only, scaled
from tests.chaos.proxy import Proxy
from tests.chaos.traffic import Traffic
from tests.service.platform import Platform, order, question, user
from tests.service.worker import StartWorker
from tests.waiting import let_it_last, wait_until

SETTINGS = {"QUERY_TTL": "3600", "RESPONSE_MAXLEN": "100000", "USER_WAIT": "3600"}
#: Ends its own session, and nothing else.
TERMINATES = "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1);"
#: The server takes a killed session for a crash: it ends all others and recovers.
KILLS = "EXECUTE format('COPY (SELECT 1) TO PROGRAM ''kill -9 %s''', pg_backend_pid()); PERFORM pg_sleep(1);"
TRIGGER = """
CREATE FUNCTION public.harm() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW."orderId" LIKE 'bad%' THEN WHAT END IF; RETURN NEW;
END $$;
CREATE TRIGGER harm BEFORE INSERT ON public."Orders" FOR EACH ROW EXECUTE FUNCTION public.harm()
"""


@pytest.fixture
def harmed(platform: Platform) -> Iterator[Platform]:
    yield platform
    platform.query("DROP FUNCTION IF EXISTS public.harm() CASCADE")


def good(prefix: str, count: int) -> list[dict[str, object]]:
    return [order(f"{prefix}-{number}", "u") for number in range(count)]


def test_an_order_that_ends_its_session_is_put_aside_and_nobody_notices(
    harmed: Platform, start_worker: StartWorker
) -> None:
    harmed.query(TRIGGER.replace("WHAT", TERMINATES))
    worker = start_worker(**SETTINGS)
    ids = harmed.send(user("u"), *good("a", 300), order("bad", "u"), *good("b", 300), question("u", "q"))
    assert "error" not in harmed.answer_to("q")
    harmed.wait_until_finished()
    assert len(harmed.orders()) == 600
    assert harmed.failed_codes() == {ids[301]: ("retrying", "database_error")}
    assert "Database is away" not in worker.log
    harmed.query('DROP TRIGGER harm ON public."Orders"')
    harmed.wait_for_state(ids[301], "resolved")


def test_an_order_that_crashes_the_server_is_found_and_left_to_the_operators(
    harmed: Platform, start_worker: StartWorker
) -> None:
    harmed.query(TRIGGER.replace("WHAT", KILLS))
    start_worker(**SETTINGS)
    ids = harmed.send(user("u"), *good("a", 300), order("bad", "u"), *good("b", 300))
    harmed.wait_until_finished(60)
    assert len(harmed.orders()) == 600
    assert harmed.failed_codes() == {ids[301]: ("failed", "poison")}


def test_one_that_has_no_neighbours_is_put_aside_when_some_come(harmed: Platform, start_worker: StartWorker) -> None:
    harmed.query(TRIGGER.replace("WHAT", TERMINATES))
    worker = start_worker(**SETTINGS, FAULT_WAIT="3600")
    ids = harmed.send(user("u"), order("bad", "u"))
    wait_until(
        lambda: "The database ended the session that ran it" in worker.log, "the log to say why nothing is stored"
    )
    assert harmed.failed_codes() == {}
    harmed.send(*good("a", 3))
    harmed.wait_until_finished()
    assert len(harmed.orders()) == 3
    assert harmed.failed_codes() == {ids[1]: ("retrying", "database_error")}


@full_only
def test_an_order_that_is_never_answered_is_found_and_left_to_the_operators(
    harmed: Platform, start_worker: StartWorker
) -> None:
    goes_on = "LOOP BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;"
    harmed.query(TRIGGER.replace("WHAT", goes_on))
    start_worker(**SETTINGS)
    ids = harmed.send(user("u"), *good("a", 30), order("bad", "u"), *good("b", 30))
    harmed.wait_until_finished(120)
    assert len(harmed.orders()) == 60
    assert harmed.failed_codes() == {ids[31]: ("failed", "poison")}


@full_only
def test_a_failed_task_that_crashes_the_server_is_found_too(harmed: Platform, start_worker: StartWorker) -> None:
    start_worker(**SETTINGS)
    bad, fine = harmed.send(order("bad", "u"), order("fine", "v"))
    harmed.wait_until_finished()
    harmed.query(TRIGGER.replace("WHAT", KILLS))
    harmed.query("""INSERT INTO public."User" ("userID", email) VALUES ('u', 'u@x'), ('v', 'v@x')""")

    def states() -> dict[str, tuple[str, str]]:
        # The server recovers again and again.
        with suppress(psycopg2.OperationalError):
            return harmed.failed_codes()
        return {}

    wait_until(lambda: states().get(bad) == ("failed", "poison"), "the task to be given up", 120)
    wait_until(lambda: states()[fine][0] == "resolved", "its neighbour to be stored")


def test_a_link_that_cuts_session_after_session_is_no_orders_fault(
    platform: Platform, start_worker: StartWorker
) -> None:
    with Proxy.to(platform.database_url) as proxy:
        start_worker(**SETTINGS, DATABASE_URL=proxy.url(platform.database_url))
        traffic = Traffic(platform, scaled(4_000, 20_000), per_second=scaled(400, 700)).start()
        for size in (1_000, 3_000, 6_000, 12_000, 24_000):
            proxy.cut_after(size)
            let_it_last(scaled(2, 5))
        proxy.cut_after(None)
        traffic.sent.wait(60)
        platform.wait_until_finished(120)
        traffic.check_everything_is_stored_once()
        assert platform.query("SELECT DISTINCT code FROM dbstorage.failed_tasks WHERE code <> 'user_not_found'") == []


def test_a_server_that_restarts_again_and_again_is_no_orders_fault(
    servers: Servers, platform: Platform, start_worker: StartWorker
) -> None:
    start_worker(**SETTINGS)
    traffic = Traffic(platform, scaled(3_000, 20_000), per_second=scaled(400, 700)).start()
    for _ in range(scaled(3, 8)):
        servers.postgres.stop("immediate")
        servers.postgres.start()
    traffic.sent.wait(60)
    platform.wait_until_finished(120)
    traffic.check_everything_is_stored_once()
    assert platform.query("SELECT DISTINCT code FROM dbstorage.failed_tasks WHERE code <> 'user_not_found'") == []
