"""Histories over whatever the columns may hold.

Times finer than milliseconds, before Christ, far away, infinite; numbers that JSON cannot write; text that it escapes.
"""

import json
from typing import Any

import pytest
from sqlalchemy import Engine, text

from dbstorage.batch.resources import SESSION_SETTINGS
from dbstorage.commands.cursor import decode_cursor
from dbstorage.commands.questions import HistoryQuestion
from dbstorage.database.engine import create_engine
from dbstorage.database.shape import inspect_shape
from dbstorage.database.url import parse_database_url
from dbstorage.storage.history import read_pages

FINE = [
    "2025-01-01 00:00:00.123456",
    "2025-01-01 00:00:00.1234",
    "2025-01-01 00:00:00.123999",
    "2025-01-01 00:00:00.123",
]
STRANGE = ["infinity", "infinity", "0044-03-15 BC", "0044-03-15 BC", "12025-01-01", "12025-01-01", "-infinity",
           "-infinity", "4713-01-01 BC", "294276-12-31 23:59:59.999", "0001-01-01", "9999-12-31 23:59:59.999",
           "0001-12-31 BC", "2024-02-29"]  # fmt: skip


def prepare(engine: Engine, times: list[str], *changes: str) -> list[str]:
    """Orders o0, o1, … closed at these times; their ids as a history lists them."""
    with engine.begin() as connection:
        for change in changes:
            connection.execute(text(change))
        connection.execute(text("""INSERT INTO "User" ("userID", email) VALUES ('u', 'u')"""))
        for number, time in enumerate(times):
            connection.execute(
                text(
                    'INSERT INTO "Orders" ("orderId", "userId", symbol, type, quantity, leverage, "openPrice", '
                    '"closePrice", "openTime", "closeTime", "profitLoss") '
                    "VALUES (:id, 'u', 'btc', 'buy', 1, 1, 1, 1, :time, :time, 0.30000000000000004)"
                ),
                {"id": f"o{number:02}", "time": time},
            )
        key = "id" if has_id(connection) else '"orderId"'
        listed = connection.scalars(text(f'SELECT "orderId" FROM "Orders" ORDER BY "closeTime" DESC, {key} DESC'))
        return list(listed)


def has_id(connection: Any) -> bool:
    return inspect_shape(connection).has_order_row_id


def follow(engine: Engine, limit: int) -> list[dict[str, Any]]:
    """All orders of the user, page by page."""
    shown: list[dict[str, Any]] = []
    cursor = None
    for _ in range(100):
        with engine.connect() as connection:
            question = HistoryQuestion("u", limit, cursor, False, None, None)
            [page] = read_pages(connection, inspect_shape(connection), [question])
        shown += json.loads(page.orders)
        if page.next_cursor is None:
            return shown
        cursor = decode_cursor(page.next_cursor)
        assert cursor is not None, "our own cursor"
    raise AssertionError("the pages have no end")


@pytest.fixture
def engine(database_url: str) -> Any:
    engine = create_engine(parse_database_url(database_url), session_settings=SESSION_SETTINGS)
    yield engine
    engine.dispose()


WITHOUT_ID = 'ALTER TABLE "Orders" DROP "id"'


@pytest.mark.parametrize("changes", [(), (WITHOUT_ID,)], ids=["id", "orderId"])
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@pytest.mark.parametrize("type_name", ["timestamp(6)", "timestamp", "timestamp(4)"])
def test_finer_times_are_neither_skipped_nor_repeated(
    engine: Engine, changes: tuple[str, ...], limit: int, type_name: str
):
    listed = prepare(engine, FINE * 2, f'ALTER TABLE "Orders" ALTER "closeTime" TYPE {type_name}', *changes)
    shown = follow(engine, limit)
    assert [order["orderId"] for order in shown] == listed
    assert {order["closeTime"] for order in shown} <= {"2025-01-01T00:00:00.123Z", "2025-01-01T00:00:00.124Z"}


@pytest.mark.parametrize("changes", [(), (WITHOUT_ID,)], ids=["id", "orderId"])
@pytest.mark.parametrize("limit", [1, 2, 5, 100])
def test_strange_times_are_answered_and_neither_skipped_nor_repeated(
    engine: Engine, changes: tuple[str, ...], limit: int
):
    listed = prepare(engine, STRANGE, *changes)
    shown = follow(engine, limit)
    assert [order["orderId"] for order in shown] == listed
    times = {order["orderId"]: order["closeTime"] for order in shown}
    assert [times[f"o{number:02}"] for number in range(len(STRANGE))] == [
        *(None, None, "-000043-03-15T00:00:00.000Z", "-000043-03-15T00:00:00.000Z"),
        *("+012025-01-01T00:00:00.000Z", "+012025-01-01T00:00:00.000Z", None, None),
        *("-004712-01-01T00:00:00.000Z", "+294276-12-31T23:59:59.999Z"),
        *("0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z", "+000000-12-31T00:00:00.000Z"),
        "2024-02-29T00:00:00.000Z",
    ]


def test_numbers_are_answered_exactly_whatever_the_role_is_set_to(engine: Engine):
    with engine.begin() as connection:
        name = connection.scalar(text("SELECT current_database()"))
        for setting in (
            "extra_float_digits = 0",
            "array_nulls = off",
            "DateStyle = 'German'",
            "TimeZone = 'Asia/Tokyo'",
        ):
            connection.execute(text(f'ALTER DATABASE "{name}" SET {setting}'))
    engine.dispose()
    prepare(engine, ["2025-01-01"])
    with engine.begin() as connection:
        connection.execute(text("""UPDATE "Orders" SET quantity = 1.7976931348623157e308"""))
    [order] = follow(engine, 1)
    assert (order["profitLoss"], order["quantity"]) == (0.30000000000000004, 1.7976931348623157e308)
    assert order["closeTime"] == "2025-01-01T00:00:00.000Z"


def test_what_is_no_number_is_answered_as_null(engine: Engine):
    prepare(engine, ["2025-01-01"])
    with engine.begin() as connection:
        connection.execute(
            text(
                """UPDATE "Orders" SET quantity = 'NaN', "openPrice" = 'Infinity', "closePrice" = '-Infinity', """
                """"profitLoss" = -5e-324"""
            )
        )
    [order] = follow(engine, 1)
    assert (order["quantity"], order["openPrice"], order["closePrice"]) == (None, None, None)
    assert order["profitLoss"] == -5e-324


@pytest.mark.parametrize("strange", ['"', "\\", "\n\t\x01\x7f", "ä€😀\u2028", '\',"orderId":"other'])
def test_text_is_answered_as_it_is_stored(engine: Engine, strange: str):
    prepare(engine, ["2025-01-01"])
    with engine.begin() as connection:
        connection.execute(text('UPDATE "Orders" SET "orderId" = :text, symbol = :text'), {"text": strange})
    [order] = follow(engine, 1)
    assert (order["orderId"], order["symbol"]) == (strange, strange)
