"""Commands that meet in one batch, where they are written as a set, and entries that come again."""

from tests.service.platform import GROUP, STREAM, Platform, order, user


def test_the_stored_order_is_told_from_one_whose_user_is_unknown(service: Platform) -> None:
    unknown, stored = service.send(
        user("known"), order("one-id", "unknown", quantity=1), order("one-id", "known", quantity=2)
    )[1:]
    service.wait_until_finished()
    assert service.query('SELECT "userId", quantity FROM "Orders" WHERE "orderId" = %s', "one-id") == [("known", 2.0)]
    assert stored not in service.failed_codes()
    assert service.failed_codes()[unknown] == ("failed", "order_conflict")


def test_a_conflict_between_users_does_not_hide_a_later_move(service: Platform) -> None:
    service.send(user("move-a", "move-a@x"), user("move-b", "move-b@x"))
    service.wait_until_finished()
    conflict, *_ = service.send(
        user("move-b", "move-a@x"),
        user("move-c", "move-b@x"),
        order("before-the-move", "move-a"),
        user("move-b", "move-a@x"),
    )
    service.wait_until_finished()
    assert service.orders()["before-the-move"] == "move-b"
    assert service.failed_codes()[conflict] == ("failed", "user_conflict")
    assert service.failed_with_order("before-the-move") == []


def test_a_conflict_that_is_delivered_again_stays_one(service: Platform) -> None:
    before, *_ = service.send(user("kept-a", "kept-a@x"), user("kept-b", "kept-b@x"), user("kept-b", "kept-a@x"))
    service.send(user("kept-c", "kept-b@x"))
    service.wait_until_finished()
    service.redis.xgroup_setid(STREAM, GROUP, before)
    service.wait_until_finished()
    assert {name for name in service.users() if name.startswith("kept-")} == {"kept-a", "kept-c"}
