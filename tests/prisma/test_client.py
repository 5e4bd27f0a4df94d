"""Programs with Prisma and the service, on the same rows."""

from typing import Any

from tests.prisma.conftest import Prisma
from tests.service.platform import Platform, order, question, user


def test_prisma_reads_what_the_service_wrote(prisma: Prisma, platform: Platform):
    platform.send(user("read"), order("read-order", "read", leverage=20, takeProfit=99.5, closeReason="take_profit"))
    platform.wait_until_finished()
    [person] = prisma.call(("user", "findUnique", {"where": {"userID": "read"}, "include": {"orders": True}}))
    [stored] = person["orders"]
    expected = {
        "orderId": "read-order",
        "userId": "read",
        "symbol": "btc",
        "type": "buy",
        "quantity": 0.5,
        "leverage": 20,
        "takeProfit": 99.5,
        "stopLoss": 145.5,
        "stippage": None,
        "openPrice": 100.25,
        "closePrice": 101.75,
        "openTime": "2026-05-05T00:00:00.000Z",
        "closeTime": "2026-05-05T00:00:01.000Z",
        "profitLoss": 7.5,
    }
    assert {name: stored[name] for name in expected} == expected
    assert person["email"] == "read@example.com"
    if prisma.schema == "plain":
        assert person["balance"] == 10000
    else:
        assert stored["closeReason"] == "take_profit"


def test_what_prisma_changes_the_service_keeps_and_shows(prisma: Prisma, platform: Platform):
    command = order("changed-order", "changed")
    platform.send(user("changed"), command)
    platform.wait_until_finished()
    changes = {"email": "new@example.com"} | ({"balance": 17.25} if prisma.schema == "plain" else {})
    prisma.call(
        ("user", "update", {"where": {"userID": "changed"}, "data": changes}),
        ("orders", "update", {"where": {"orderId": "changed-order"}, "data": {"profitLoss": -3.5, "symbol": "sol"}}),
    )
    platform.send(
        user("changed", "new@example.com"), order("changed-later", "changed"), question("changed", "changed-q")
    )
    shown = {each["orderId"]: each for each in platform.answer_to("changed-q")["orders"]}
    assert (shown["changed-order"]["profitLoss"], shown["changed-order"]["symbol"]) == (-3.5, "sol")
    [person] = prisma.call(("user", "findUnique", {"where": {"userID": "changed"}, "include": {"orders": True}}))
    assert {name: person[name] for name in changes} == changes
    assert len(person["orders"]) == 2
    # The same order again has another content than the row now: it is kept as a failed task, the row stays.
    [entry_id] = platform.send(command)
    platform.wait_until_finished()
    assert platform.failed_codes()[entry_id] == ("failed", "order_conflict")


def test_a_user_whom_prisma_created_or_renamed_gets_his_orders(prisma: Prisma, platform: Platform):
    prisma.call(("user", "create", {"data": {"userID": "made", "email": "made@example.com"}}))
    platform.send(order("made-order", "made"))
    platform.wait_until_finished()
    prisma.call(("user", "update", {"where": {"userID": "made"}, "data": {"userID": "renamed"}}))
    platform.send(order("renamed-order", "renamed"), question("renamed", "renamed-q"))
    assert [each["orderId"] for each in platform.answer_to("renamed-q")["orders"]] == ["renamed-order", "made-order"]


def test_prisma_and_the_service_take_turns_in_writing_rows(prisma: Prisma, platform: Platform):
    platform.send(user("turns"), order("turn-1", "turns"))
    platform.wait_until_finished()
    row = {
        "orderId": "turn-2",
        "userId": "turns",
        "symbol": "eth",
        "type": "sell",
        "quantity": 1,
        "leverage": 1,
        "openPrice": 2,
        "closePrice": 1,
        "openTime": "2026-05-05T00:00:01.000Z",
        "closeTime": "2026-05-05T00:00:02.000Z",
        "profitLoss": 1,
    }
    prisma.call(("orders", "create", {"data": row}))
    # The numbers of the rows go on where Prisma stopped, and the other way round.
    platform.send(order("turn-3", "turns", closeTime="2026-05-05T00:00:03.000Z"), order("turn-2", **_as_sent(row)))
    platform.send(question("turns", "turns-q"))
    assert [each["orderId"] for each in platform.answer_to("turns-q")["orders"]] == ["turn-3", "turn-2", "turn-1"]
    assert platform.failed_with_order("turn-2") == []


def _as_sent(row: dict[str, Any]) -> dict[str, Any]:
    """The same order as a command, so that the service finds it stored already."""
    return {
        "user_id": row["userId"],
        "stopLoss": None,
        **{key: row[key] for key in row if key not in ("orderId", "userId")},
    }
