"""Walking a long history page by page through the whole service."""

import base64
import json
from collections.abc import Iterator
from typing import Any

from dbstorage.settings import load_settings
from dbstorage.traffic.answer_reader import ask_history
from dbstorage.wire.received import ReceivedAnswer
from tests.history.conftest import Stored
from tests.history.rows import add_orders, add_user
from tests.service.platform import Platform, order, question, user
from tests.waiting import PATIENCE

ORDERS = 10_000


def ask(platform: Platform, user_id: str, limit: int, cursor: str | None = None) -> ReceivedAnswer:
    settings = load_settings({"REDIS_URL": "redis://unused", "DATABASE_URL": platform.database_url})
    answer = ask_history(platform.redis, settings, user_id, limit=limit, cursor=cursor, timeout=PATIENCE)
    assert answer is not None
    assert answer.error is None
    return answer


def walk(platform: Platform, user_id: str, limit: int) -> Iterator[list[dict[str, Any]]]:
    """Every page, the next one asked for after this one was looked at."""
    answer = ask(platform, user_id, limit)
    while answer.has_more:
        assert len(answer.orders) == limit
        yield answer.orders
        assert answer.next_cursor is not None
        answer = ask(platform, user_id, limit, answer.next_cursor)
    assert answer.next_cursor is None
    yield answer.orders


def sorted_ids(platform: Platform, stored: Stored, user_id: str) -> list[str]:
    """The user's orderIds as the contract sorts them."""
    statement = f'SELECT "orderId" FROM "Orders" WHERE "userId" = %s ORDER BY "closeTime" DESC, "{stored.key}" DESC'
    return [row[0] for row in platform.query(statement, user_id)]


def test_a_walk_while_orders_arrive_meets_each_order_once_and_in_order(stored: Stored, platform: Platform):
    add_user(stored.engine, "walked")
    add_orders(stored.engine, "'walked'", ORDERS, "walked")
    before = sorted_ids(platform, stored, "walked")

    seen: list[str] = []
    for number, page in enumerate(walk(platform, "walked", limit=333)):
        seen += [each["orderId"] for each in page]
        platform.send(
            # Newer than everything, older than everything, and in the same millisecond as the last one of this page.
            order(f"newest-{number}", "walked", closeTime=f"2027-01-01T00:00:00.{number:03}Z"),
            order(f"oldest-{number}", "walked", closeTime=f"2020-01-01T00:00:00.{number:03}Z"),
            order(f"same-{number}", "walked", closeTime=page[-1]["closeTime"]),
        )

    met = set(seen)
    assert len(seen) == len(met)
    assert [order_id for order_id in seen if order_id.startswith("walked")] == before
    assert not any(order_id.startswith("newest") for order_id in seen)
    assert seen == [order_id for order_id in sorted_ids(platform, stored, "walked") if order_id in met]
    # Those that came in behind the page they came after are met on a later one.
    assert {f"oldest-{number}" for number in range(ORDERS // 333)} <= met


def test_orders_of_the_same_millisecond_are_split_over_pages_without_gap(platform: Platform):
    same = [order(f"tie-{number:02}", "at-once", closeTime="2026-05-05T00:00:01.000Z") for number in range(25)]
    platform.send(user("at-once"), *same)
    pages = [[each["orderId"] for each in page] for page in walk(platform, "at-once", limit=7)]
    # Both by "id", the last written first, and by orderId descending.
    assert [order_id for page in pages for order_id in page] == [f"tie-{number:02}" for number in reversed(range(25))]
    assert [len(page) for page in pages] == [7, 7, 7, 4]


def test_a_page_never_has_more_than_a_thousand_orders(stored: Stored, platform: Platform):
    add_user(stored.engine, "busy")
    add_orders(stored.engine, "'busy'", 1100, "busy")
    for limit in (1000, 1001, 10**9, "5000"):
        platform.send(question("busy", f"much-{limit}", limit=limit))
        answer = platform.answer_to(f"much-{limit}")
        assert len(answer["orders"]) == 1000
        assert answer["hasMore"] is True


WRONG_CURSORS = [
    "garbage",
    17,
    True,
    {"not": ""},
    base64.urlsafe_b64encode(b'[1,"2026-01-01T00:00:00.000",true]').decode(),
    base64.urlsafe_b64encode(b'[2,"2026-01-01T00:00:00.000",1]').decode(),
    base64.urlsafe_b64encode(b'[1,"yesterday",1]').decode(),
    '\'; DROP TABLE "Orders"; --',
]
WRONG_LIMITS = [0, -1, 1.5, "many", True, [10], {"not": 0}, "NaN", "1e400"]


def test_garbage_in_limit_or_cursor_gets_nothing_and_a_code(stored: Stored, platform: Platform):
    wrong = [("cursor", value) for value in WRONG_CURSORS] + [("limit", value) for value in WRONG_LIMITS]
    # A cursor of a table that has, or has not, its "id".
    key = '"order-1"' if stored.shape.has_order_row_id else "1"
    other = f'[1,"2026-01-01T00:00:00.000",{key}]'.encode()
    wrong.append(("cursor", base64.urlsafe_b64encode(other).decode()))
    platform.send(user("asked"), order("asked-order", "asked"))
    platform.send(*(question("asked", f"wrong-{n}", **{name: value}) for n, (name, value) in enumerate(wrong)))
    platform.send_raw(
        *(
            {"function": "getCloseOrders", "userId": "asked", "requestId": f"flat-{n}", name: flat(value)}
            for n, (name, value) in enumerate(wrong)
        )
    )
    platform.wait_until_finished()
    answers = {answer["requestId"]: answer for answer in platform.answers()}
    for layout in ("wrong", "flat"):
        for n, (name, value) in enumerate(wrong):
            answer = answers[f"{layout}-{n}"]
            assert (answer["orders"], answer.get("error")) == ([], f"invalid_{name}"), (layout, name, value)
            assert "nextCursor" not in answer


def flat(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
