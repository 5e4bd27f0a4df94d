"""What an answer shows of an order."""

import json

import pytest

from dbstorage.commands.questions import HistoryQuestion
from dbstorage.storage.history import read_pages
from tests.history.conftest import Stored
from tests.history.rows import add_orders, add_user

PLAIN = {
    "orderId": "shown-1",
    "symbol": "btc",
    "type": "buy",
    "quantity": 1,
    "openPrice": 1,
    "closePrice": 1,
    "openTime": "2026-01-01T00:00:00.000Z",
    "closeTime": "2026-01-01T00:00:00.000Z",
    "profitLoss": 1,
    "status": "closed",
}
DETAIL = {"leverage": 1, "takeProfit": None, "stopLoss": None, "stippage": None}


@pytest.mark.parametrize("detail", [False, True])
def test_an_order_is_answered_with_the_keys_of_the_contract_in_their_order(stored: Stored, detail: bool):
    owner = f"shown-{detail}"
    add_user(stored.engine, owner)
    add_orders(stored.engine, f"'{owner}'", 1, owner)
    with stored.engine.connect() as connection:
        [page] = read_pages(connection, stored.shape, [HistoryQuestion(owner, 10, None, detail, None, None)])
    [order] = json.loads(page.orders)
    expected = PLAIN | {"orderId": f"{owner}-1"}
    if detail:
        expected |= DETAIL
    if stored.shape.close_reason is not None:
        expected |= {"takeProfit": None, "stopLoss": None, "closeReason": order["closeReason"]}
    assert list(order.items()) == list(expected.items())
