"""The switch from the service that DBStorage replaces, as docs/migrating.md describes it."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text

from dbstorage.cli import main
from dbstorage.database.engine import create_engine
from dbstorage.database.migrate import upgrade
from dbstorage.database.url import parse_database_url
from tests.database.prisma_tables import PrismaTables
from tests.service.platform import GROUP, STREAM, Platform, order, user
from tests.service.worker import Worker

#: Of forty orders in the stream, the service that is replaced stored those before this one.
STOPPED_AT = 25


@pytest.fixture
def engine(empty_database_url: str) -> Iterator[Engine]:
    """The database that Prisma made, adopted."""
    address = parse_database_url(empty_database_url)
    engine = create_engine(address)
    with engine.begin() as connection:
        PrismaTables().create(connection)
    upgrade(address)
    yield engine
    engine.dispose()


@pytest.fixture
def platform(engine: Engine, redis_url: str, empty_database_url: str) -> Iterator[Platform]:
    """A stream of a user and his forty orders, and what was stored of them before the switch."""
    with closing(Platform(redis_url, empty_database_url)) as platform:
        platform.send(user("trader"), *(order(f"o-{number}", "trader") for number in range(40)))
        with engine.begin() as connection:
            # As Prisma writes them.
            connection.execute(text("""INSERT INTO "User" ("userID", email) VALUES ('trader', 'trader@example.com')"""))
            connection.execute(
                text(
                    """
                    INSERT INTO "Orders" ("orderId", "userId", "symbol", "type", "quantity", "leverage", "stopLoss",
                                          "openPrice", "closePrice", "openTime", "closeTime", "profitLoss")
                    SELECT 'o-' || n, 'trader', 'btc', 'buy', 0.5, 10, 145.5, 100.25, 101.75,
                           '2026-05-05 00:00:00.000', '2026-05-05 00:00:01.000', 7.5
                    FROM generate_series(0, :last) AS n
                    """
                ),
                {"last": STOPPED_AT - 1},
            )
        yield platform


@pytest.fixture
def worker(platform: Platform, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A worker that is not started yet; commands find the same servers."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("DATABASE_URL", platform.database_url)
    with Worker(dict(os.environ), tmp_path) as worker:
        yield worker


def trader_orders(platform: Platform) -> set[str]:
    return {order_id for order_id, user_id in platform.orders().items() if user_id == "trader"}


def test_the_first_start_replays_the_stream_and_loses_and_doubles_nothing(platform: Platform, worker: Worker):
    rows_before = platform.query('SELECT * FROM "Orders" ORDER BY "orderId"')
    worker.start()
    platform.wait_until_finished()
    assert trader_orders(platform) == {f"o-{number}" for number in range(40)}
    assert platform.failed("code") == []
    assert set(rows_before) <= set(platform.query('SELECT * FROM "Orders"'))
    audit = CliRunner().invoke(main, ["audit"])
    assert audit.exit_code == 0, audit.output


def test_a_row_that_was_changed_before_the_switch_stays_and_is_told(platform: Platform, worker: Worker):
    platform.query('UPDATE "Orders" SET "profitLoss" = 0 WHERE "orderId" = %s', "o-3")
    worker.start()
    platform.wait_until_finished()
    assert platform.failed("order_id", "code") == [("o-3", "order_conflict")]
    assert platform.query('SELECT "profitLoss" FROM "Orders" WHERE "orderId" = %s', "o-3") == [(0.0,)]
    discard = CliRunner().invoke(main, ["failed", "discard", "--code", "order_conflict", "--yes"])
    assert discard.exit_code == 0, discard.output
    assert platform.failed("state") == [("discarded",)]


def test_a_group_that_was_created_elsewhere_starts_there(platform: Platform, worker: Worker):
    entries: Any = platform.redis.xrange(STREAM)
    platform.redis.xgroup_create(STREAM, GROUP, entries[30][0])
    worker.start()
    platform.wait_until_finished()
    # The user is entry 0, so order n is entry n + 1.
    assert trader_orders(platform) == {f"o-{number}" for number in [*range(STOPPED_AT), *range(30, 40)]}
    worker.stop()
    platform.redis.xgroup_setid(STREAM, GROUP, "0")
    worker.start()
    platform.wait_until_finished()
    assert trader_orders(platform) == {f"o-{number}" for number in range(40)}


def test_after_a_time_with_the_old_service_the_group_goes_on_where_it_stopped(platform: Platform, worker: Worker):
    worker.start()
    platform.wait_until_finished()
    assert worker.stop() == 0
    # Meanwhile the other service stored one order of two.
    platform.send(order("meanwhile-1", "trader"), order("meanwhile-2", "trader"))
    platform.query(
        """
        INSERT INTO "Orders" ("orderId", "userId", "symbol", "type", "quantity", "leverage", "takeProfit", "stopLoss",
                              "stippage", "openPrice", "closePrice", "openTime", "closeTime", "profitLoss")
        SELECT 'meanwhile-1', "userId", "symbol", "type", "quantity", "leverage", "takeProfit", "stopLoss",
               "stippage", "openPrice", "closePrice", "openTime", "closeTime", "profitLoss"
        FROM "Orders" WHERE "orderId" = 'o-0'
        """
    )
    worker.start()
    platform.wait_until_finished()
    assert {"meanwhile-1", "meanwhile-2"} <= trader_orders(platform)
    assert platform.failed("code") == []
