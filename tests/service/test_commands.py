"""Commands in, rows and answers out, through a real worker."""

from tests.service.platform import RESPONSES, STREAM, Platform, order, question, user
from tests.service.worker import StartWorker


def test_the_first_order_of_a_new_user_is_stored_and_told(service: Platform) -> None:
    service.send(user("first"), order("first-order", "first", closeReason="manual"), question("first", "q-first"))
    answer = service.answer_to("q-first")
    assert answer == {
        "function": "getCloseOrders",
        "message": answer["message"],
        "requestId": "q-first",
        "correlationId": "q-first",
        "inReplyTo": answer["inReplyTo"],
        "hasMore": False,
        "orders": [
            {
                "orderId": "first-order",
                "symbol": "btc",
                "type": "buy",
                "quantity": 0.5,
                "openPrice": 100.25,
                "closePrice": 101.75,
                "openTime": "2026-05-05T00:00:00.000Z",
                "closeTime": "2026-05-05T00:00:01.000Z",
                "profitLoss": 7.5,
                "status": "closed",
            }
        ],
    }
    assert service.query('SELECT email, balance FROM "User" WHERE "userID" = %s', "first") == [
        ("first@example.com", 10000.0)
    ]


def test_a_flat_question_gets_a_flat_answer(service: Platform) -> None:
    service.send(user("flat"), order("flat-order", "flat"))
    service.send_raw(
        {"function": "getCloseOrders", "message": "flat", "correlationId": "c-flat", "limit": "5", "detail": "true"}
    )
    answer = service.answer_to("c-flat")
    assert answer["function"] == "getCloseOrders"
    assert answer["correlationId"] == "c-flat"
    assert answer["hasMore"] == "false"
    assert answer["orders"][0]["leverage"] == 10
    assert answer["orders"][0]["stopLoss"] == 145.5


def test_the_same_order_again_is_a_duplicate_and_another_content_a_conflict(service: Platform) -> None:
    first, again, moved, other = (
        order("again", "twice"),
        order("again", "twice"),
        order("again", "someone-else"),
        order("again", "twice", quantity=2),
    )
    *_, conflict = service.send(user("twice"), first, again, moved, other)
    service.wait_until_finished()
    assert service.query('SELECT quantity FROM "Orders" WHERE "orderId" = %s', "again") == [(0.5,)]
    assert service.failed_with_order("again") == [(f"createCloseOrder:again:{conflict}", "order_conflict", "failed")]


def test_a_user_is_found_by_email_then_by_id(service: Platform) -> None:
    service.send(user("ann-1", "ann@x"), order("ann-order-1", "ann-1"))
    service.wait_until_finished()
    service.query("UPDATE \"User\" SET balance = 17 WHERE email = 'ann@x'")
    service.send(
        user("ann-2", "ann@x"), user("ann-2", "ann@y"), order("ann-order-2", "ann-2"), question("ann-2", "q-ann")
    )
    assert [item["orderId"] for item in service.answer_to("q-ann")["orders"]] == ["ann-order-2", "ann-order-1"]
    assert service.query('SELECT "userID", email, balance FROM "User" WHERE email LIKE \'ann@%%\'') == [
        ("ann-2", "ann@y", 17.0)
    ]


def test_email_and_id_of_two_users_are_a_conflict_that_changes_nothing(service: Platform) -> None:
    *_, conflict = service.send(user("cleo", "cleo@x"), user("dora", "dora@x"), user("cleo", "dora@x"))
    service.wait_until_finished()
    assert service.users()["cleo"] == "cleo@x"
    assert service.users()["dora"] == "dora@x"
    assert service.failed_codes()[conflict] == ("failed", "user_conflict")


def test_a_moved_user_takes_effect_between_the_orders_around_it(service: Platform) -> None:
    service.send(
        user("old", "mover@x"),
        order("mover-1", "old"),
        question("old", "before"),
        user("new", "mover@x"),
        order("mover-2", "new"),
        question("old", "gone"),
        question("new", "after"),
    )
    assert [item["orderId"] for item in service.answer_to("before")["orders"]] == ["mover-1"]
    assert service.answer_to("gone")["orders"] == []
    assert [item["orderId"] for item in service.answer_to("after")["orders"]] == ["mover-2", "mover-1"]


def test_answers_without_a_request_id_leave_in_the_order_of_their_questions(service: Platform) -> None:
    people = [f"queue-{number}" for number in range(50)]
    service.send(*(user(person) for person in people), *(order(f"o-{person}", person) for person in people))
    service.wait_until_finished()
    service.redis.delete(RESPONSES)
    service.send(*(question(person) for person in people))
    service.wait_until_finished()
    assert [answer["orders"][0]["orderId"] for answer in service.answers()] == [f"o-{person}" for person in people]
    assert all("requestId" not in answer and "correlationId" not in answer for answer in service.answers())


def test_a_message_that_is_no_user_selects_nobody(service: Platform) -> None:
    service.send(user("victim"), order("victims-order", "victim"))
    hostile = [{"not": ""}, {"userId": {"not": ""}}, ["victim"], True, None, ""]
    for number, message in enumerate(hostile):
        service.send({"function": "getCloseOrders", "message": message, "requestId": f"hostile-{number}"})
        answer = service.answer_to(f"hostile-{number}")
        assert answer["orders"] == []
        assert answer["error"] == "missing_user_id"


def test_what_cannot_be_understood_is_kept_raw(service: Platform) -> None:
    ids = service.send_raw(
        {"message": b"\xff{"},
        {"message": b'{"function":"dropTables"}'},
        {"function": b"createCloseOrder", "message": b"\x00\xff"},
    )
    service.wait_until_finished()
    codes = service.failed_codes()
    assert [codes[entry_id] for entry_id in ids] == [
        ("failed", "invalid_entry"),
        ("failed", "unknown_function"),
        ("failed", "invalid_entry"),
    ]
    payloads = dict(service.failed("entry_id", "payload"))
    assert bytes(payloads[ids[0]]) == b"\xff{"
    assert bytes(payloads[ids[1]]) == b'{"function":"dropTables"}'
    assert b"\x00\xff" in bytes(payloads[ids[2]])


def test_an_order_whose_user_comes_later_is_retried_until_it_is_stored(service: Platform) -> None:
    [entry_id] = service.send(order("early", "late-user"))
    service.wait_until_finished()
    assert service.failed_codes()[entry_id] == ("retrying", "user_not_found")
    service.send(user("late-user"))
    service.wait_for_state(entry_id, "resolved")
    assert service.orders()["early"] == "late-user"


def test_an_order_whose_user_does_not_come_fails_until_he_does(service: Platform) -> None:
    [entry_id] = service.send(order("orphan", "nobody"))
    service.wait_for_state(entry_id, "failed")
    assert service.failed_codes()[entry_id] == ("failed", "user_not_found")
    service.send(user("nobody"))
    service.wait_for_state(entry_id, "resolved")
    assert service.orders()["orphan"] == "nobody"


def test_an_expired_question_is_not_answered(platform: Platform, start_worker: StartWorker) -> None:
    platform.redis.xadd(STREAM, {"message": '{"function":"getCloseOrders","userId":"u","requestId":"old"}'}, id="1-1")
    start_worker()
    platform.wait_until_finished()
    platform.send(question("u", "young"))
    platform.answer_to("young")
    assert [answer.get("requestId") for answer in platform.answers()] == ["young"]
    assert platform.failed("code") == []
