"""PostgreSQL gone, or refusing: an outage pauses and fails nobody; a wrong entry fails alone."""

from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import psycopg2
import pytest

from dbstorage.database.migrate import upgrade
from dbstorage.database.url import parse_database_url
from tests.chaos.conftest import Servers, full_only, scaled
from tests.chaos.traffic import Traffic
from tests.service.platform import Platform, order, question, user
from tests.service.worker import StartWorker, Worker
from tests.waiting import let_it_last, wait_until

SETTINGS = {"QUERY_TTL": "3600", "RESPONSE_MAXLEN": "100000", "USER_WAIT": "3600"}


def outages(worker: Worker) -> tuple[int, int]:
    """How often the log says that the database went, and that it came back."""
    return worker.log.count("Database is away"), worker.log.count("Database is back")


@pytest.mark.parametrize("mode", [pytest.param("fast", marks=full_only), "immediate"])
def test_a_postgresql_that_is_stopped_under_load_loses_nothing(
    mode: str, servers: Servers, platform: Platform, start_worker: StartWorker
) -> None:
    worker = start_worker(**SETTINGS)
    traffic = Traffic(platform, scaled(4_000, 20_000), per_second=scaled(1_000, 700)).start()
    wait_until(lambda: len(platform.orders()) > 200, "the first orders")
    servers.postgres.stop("fast" if mode == "fast" else "immediate")
    wait_until(lambda: outages(worker)[0] == 1, "the log to tell of the outage")
    let_it_last(scaled(3, 20))
    servers.postgres.start()
    wait_until(lambda: outages(worker)[1] == 1, "the log to tell that it is over", 10)
    wait_until(traffic.sent.is_set, "the traffic to be sent")
    platform.wait_until_finished(120)
    traffic.check_everything_is_stored_once()
    assert outages(worker) == (1, 1)


def test_questions_in_hand_are_told_that_the_database_is_away(
    servers: Servers, platform: Platform, start_worker: StartWorker
) -> None:
    worker = start_worker()
    platform.send(user("u"), order("o", "u"))
    platform.wait_until_finished()
    servers.postgres.stop("immediate")
    platform.send(order("meanwhile", "u"), question("u", "asked-meanwhile"))
    answer = platform.answer_to("asked-meanwhile")
    assert answer["orders"] == []
    assert answer["error"] == "unavailable"
    servers.postgres.start()
    platform.wait_until_finished()
    assert set(platform.orders()) == {"o", "meanwhile"}
    assert worker.alive


def test_connections_to_postgresql_that_are_cut_one_by_one_lose_nothing(
    platform: Platform, start_worker: StartWorker
) -> None:
    start_worker(**SETTINGS)
    traffic = Traffic(platform, scaled(4_000, 20_000), per_second=2_000).start()
    cut = 0
    while not traffic.sent.wait(0.05):
        cut += len(
            platform.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dbstorage' "
                "ORDER BY random() LIMIT 1"
            )
        )
    assert cut
    platform.wait_until_finished(120)
    traffic.check_everything_is_stored_once()


def test_read_only_mode_is_waited_out(platform: Platform, start_worker: StartWorker) -> None:
    worker = start_worker(**SETTINGS)
    [(database,)] = platform.query("SELECT current_database()")
    platform.query(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    platform.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dbstorage'")
    platform.send(user("u"), order("o", "u"))
    wait_until(lambda: outages(worker)[0] == 1, "the log to tell of the outage")
    platform.query("SET default_transaction_read_only = off")
    platform.query(f"ALTER DATABASE {database} RESET default_transaction_read_only")
    platform.wait_until_finished()
    assert set(platform.orders()) == {"o"}
    assert platform.failed("code") == []


def test_too_many_connections_are_waited_out(platform: Platform, start_worker: StartWorker) -> None:
    platform.query(
        "DROP ROLE IF EXISTS limited; CREATE ROLE limited LOGIN PASSWORD 'limited' CONNECTION LIMIT 1; "
        "GRANT pg_read_all_data, pg_write_all_data TO limited"
    )
    limited = platform.database_url.replace(urlsplit(platform.database_url).netloc.split("@")[0], "limited:limited")
    with closing(psycopg2.connect(limited)):
        worker = start_worker(**SETTINGS, DATABASE_URL=limited)
        platform.send(user("u"), order("o", "u"))
        wait_until(lambda: outages(worker)[0] == 1, "the log to tell of the outage")
    platform.wait_until_finished()
    assert set(platform.orders()) == {"o"}
    assert platform.failed("code") == []


@pytest.fixture
def refusing(platform: Platform) -> Iterator[Platform]:
    """A database that refuses each order whose id names a SQLSTATE with that SQLSTATE, while `refusals` says so."""
    platform.query(
        """
        CREATE TABLE public.refusals (state text);
        CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF EXISTS (SELECT FROM public.refusals WHERE NEW."orderId" LIKE '%-' || state) THEN
                RAISE EXCEPTION 'refused by a test' USING ERRCODE = split_part(NEW."orderId", '-', 2);
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON public."Orders" FOR EACH ROW EXECUTE FUNCTION public.refuse();
        """
    )
    yield platform
    platform.query('DROP TRIGGER refuse ON public."Orders"; DROP FUNCTION public.refuse(); DROP TABLE public.refusals')


AGAIN = ["40001", "40P01"]
OTHER = ["22003", "23502", "23514", "P0001", "XX000", "42501", "57014"]


def test_a_wrong_entry_fails_at_once_and_alone(platform: Platform, start_worker: StartWorker) -> None:
    platform.query("""ALTER TABLE public."Orders" ADD CONSTRAINT small CHECK (quantity < 100)""")
    try:
        start_worker(**SETTINGS)
        good = [order(f"good-{number}", "u") for number in range(200)]
        bad = [order(f"bad-{number}", "u", quantity=200 + number) for number in range(4)]
        ids = platform.send(user("u"), *good[:100], *bad, *good[100:])
        platform.wait_until_finished()
    finally:
        platform.query("""ALTER TABLE public."Orders" DROP CONSTRAINT small""")
    assert len(platform.orders()) == 200
    assert platform.failed("order_id", "code", "state", "attempts", "entry_id") == [
        (f"bad-{number}", "invalid_value", "failed", 1, ids[101 + number]) for number in range(4)
    ]


def test_a_conflict_of_transactions_is_tried_again_at_once(refusing: Platform, start_worker: StartWorker) -> None:
    refusing.query("CREATE SEQUENCE public.tries")
    refusing.query(
        """
        CREATE OR REPLACE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('public.tries') % 3 > 0 THEN
                RAISE EXCEPTION 'refused by a test' USING ERRCODE = split_part(NEW."orderId", '-', 2);
            END IF;
            RETURN NEW;
        END $$
        """
    )
    worker = start_worker(**SETTINGS)
    refusing.send(user("u"))
    for state in AGAIN:
        refusing.send(order(f"again-{state}", "u"))
    refusing.wait_until_finished()
    refusing.query("DROP SEQUENCE public.tries CASCADE")
    assert set(refusing.orders()) == {f"again-{state}" for state in AGAIN}
    assert refusing.failed("code") == []
    assert outages(worker) == (0, 0)


def test_what_a_trigger_refuses_is_put_aside_and_stored_when_that_is_mended(
    refusing: Platform, start_worker: StartWorker
) -> None:
    refusing.query("INSERT INTO public.refusals SELECT unnest(%s)", OTHER)
    worker = start_worker(**SETTINGS)
    ids = refusing.send(user("u"), order("good", "u"), *(order(f"odd-{state}", "u") for state in OTHER))
    refusing.wait_until_finished()
    assert set(refusing.orders()) == {"good"}
    assert {refusing.failed_codes()[entry_id] for entry_id in ids[2:]} == {("retrying", "database_error")}
    refusing.query("DELETE FROM public.refusals")
    for entry_id in ids[2:]:
        refusing.wait_for_state(entry_id, "resolved")
    assert len(refusing.orders()) == 1 + len(OTHER)
    assert outages(worker) == (0, 0)


def test_a_database_that_is_not_migrated_yet_is_waited_for(
    servers: Servers, platform: Platform, start_worker: StartWorker
) -> None:
    platform.query("DROP DATABASE IF EXISTS unmigrated WITH (FORCE)")
    platform.query("CREATE DATABASE unmigrated")
    url = servers.postgres.url_of("unmigrated")
    worker = start_worker(DATABASE_URL=url)
    platform.send(user("u"), order("o", "u"))
    wait_until(lambda: "run dbstorage migrate" in worker.log, "the log to say what is missing")
    upgrade(parse_database_url(url))
    platform.wait_until_finished()
    with closing(Platform(servers.redis.url, url)) as migrated:
        assert set(migrated.orders()) == {"o"}
