import html
import json
import re
import threading
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import Connection, text

from dbstorage.commands.orders import close_order
from dbstorage.database.shape import inspect_shape
from dbstorage.storage.orders import store_orders
from tests.dashboard.conftest import StartFlower
from tests.dashboard.flower_process import Flower
from tests.failed_tasks.records import add, add_many, record
from tests.service.platform import order
from tests.waiting import wait_until

EVIL = "<script>alert(1)</script>"


def shown(page: str) -> list[int]:
    return [int(number) for number in re.findall(r'<tr data-id="(\d+)"', page)]


def states(connection: Connection) -> list[str]:
    found = connection.scalars(text("SELECT state FROM dbstorage.failed_tasks ORDER BY id")).all()
    connection.commit()
    return list(found)


@pytest.mark.parametrize("path", ["/", "/workers", "/tasks", "/broker", "/failed", "/no-such-page"])
def test_every_page_has_the_entry_in_its_navigation(open_flower: Flower, path: str):
    page = open_flower.get(path).text
    assert re.search(r'<a class="nav-link[^"]*"\s+href="/failed"', page)
    assert ('aria-current="page">Failed' in page) == (path == "/failed")


def test_the_table_shows_what_happened(open_flower: Flower, connection: Connection):
    first, second = add(
        connection,
        record(order_id="order-a", attempts=3),
        record(order_id="order-b", code="user_not_found", state="retrying", user_id="user-9"),
    )
    add(connection, record(state="resolved"))
    reply = open_flower.get("/failed")
    assert reply.status == 200
    assert shown(reply.text) == [second, first]
    assert "2 tasks match." in reply.text
    page = html.unescape(reply.text)
    for expected in ("order-a", "user_not_found", "user-9", "symbol is 'doge': expected btc, eth or sol."):
        assert expected in page


def test_the_table_is_filtered_sorted_and_paged(open_flower: Flower, connection: Connection):
    ids = add(
        connection,
        *(
            record(code=f"code_{number % 3}", user_id=f"user-{number % 2}", attempts=100 - number)
            for number in range(60)
        ),
    )
    assert len(shown(open_flower.get("/failed").text)) == 50
    assert shown(open_flower.get("/failed?page=2&sort=id").text) == ids[50:]
    assert shown(open_flower.get("/failed?sort=attempts&size=25").text) == ids[:-26:-1]
    assert shown(open_flower.get("/failed?code=code_1&user=user-1&sort=id").text) == ids[1::6]
    assert shown(open_flower.get(f"/failed?text={quote('DOGE')}&page=2&sort=id").text) == ids[50:]
    assert shown(open_flower.get("/failed?page=999&sort=id").text) == ids[50:], "the last page stands for those behind"
    assert "No failed task matches." in open_flower.get("/failed?state=resolved").text


def test_a_wrong_address_is_a_sentence(open_flower: Flower):
    reply = open_flower.get("/failed?sort=payload%25s")
    assert reply.status == 400
    assert "sort is 'payload%s': expected one of id, function, " in html.unescape(reply.text)
    assert open_flower.get("/failed?text=%ff").status == 400
    for path in ("/failed?by=weather", "/failed?since=yesterday", "/failed?ids=x"):
        assert open_flower.get(path).status == 400
    answer = open_flower.get("/failed/states")
    assert (answer.status, answer.headers["Content-Type"]) == (400, "text/plain; charset=UTF-8")
    assert open_flower.get("/failed/states?ids=x").status == 400
    assert open_flower.get("/failed/count/lose").status == 404


def test_a_hundred_thousand_tasks_are_a_page_like_any_other(open_flower: Flower, connection: Connection):
    add_many(connection, (record(payload=b"{}") for _ in range(1000)))
    columns = (
        "stream, consumer_group, life, task_id, function, layout, payload, user_id, order_id, code, message, state, "
        "entry_id"
    )
    # In parts, because the service's own time limits are for its statements.
    for number in range(9):
        connection.execute(
            text(
                f"INSERT INTO dbstorage.failed_tasks ({columns}) SELECT {columns.removesuffix(', entry_id')}, "
                "entry_id || '-' || n FROM dbstorage.failed_tasks, generate_series(:first, :first + 10) AS n "
                "WHERE entry_id NOT LIKE '%-%-%'"
            ),
            {"first": number * 11},
        )
    connection.commit()
    page = open_flower.get("/failed?sort=user_id&page=2000").text
    assert "100,000 tasks match." in page
    assert "99,951 to 100,000 of 100,000" in page
    assert open_flower.get("/failed/count/retry?code=invalid_symbol").json["count"] == 100_000


def test_everything_is_escaped(open_flower: Flower, connection: Connection):
    fields = dict.fromkeys(("task_id", "function", "user_id", "order_id", "message"), f'"{EVIL}\x1b\u202e')
    [task] = add(connection, record(**fields, code=f'"{EVIL}', payload=f'{{"a":"{EVIL}"'.encode() + b"\xff"))
    addresses = (f"/failed/{task}", "/failed", f"/failed?code={quote(EVIL)}", f"/failed?task_id={quote(EVIL)}&ids=1")
    for address in addresses:
        page = open_flower.get(address).text
        assert "<script>alert" not in page
        assert "alert(1)" in page
        assert "\x1b" not in page
        assert "\u202e" not in page


def test_details_show_every_field_and_the_payload(open_flower: Flower, connection: Connection):
    [task] = add(connection, record(order_id="order-a", payload=b'{"message":{"quantity":1.10}}\xff'))
    page = html.unescape(open_flower.get(f"/failed/{task}").text)
    for expected in ("createCloseOrder:order-a", "user-1", "invalid_symbol", '"quantity":1.10}}\\xff</code>'):
        assert expected in page
    assert 'href="/task/createCloseOrder%3Aorder-a"' in page
    downloaded = open_flower.get(f"/failed/{task}/payload")
    assert downloaded.body == b'{"message":{"quantity":1.10}}\xff'
    assert downloaded.headers["Content-Type"] == "application/octet-stream"
    assert downloaded.headers["Content-Disposition"].startswith("attachment")


def test_the_details_say_what_to_do_about_a_task_until_it_is_done(open_flower: Flower, connection: Connection):
    conflict, discarded = add(
        connection, record(code="order_conflict"), record(code="order_conflict", state="discarded")
    )
    expected = "Compare it with the stored order"
    assert expected in open_flower.get(f"/failed/{conflict}").text
    assert expected not in open_flower.get(f"/failed/{discarded}").text


def test_the_codes_to_choose_from_say_how_many_tasks_there_are_in_the_state_that_is_shown(
    open_flower: Flower, connection: Connection
):
    add(connection, record(), record(), record(state="resolved"), record(code="poison", state="resolved"))

    def codes(path: str) -> list[str]:
        return re.findall(r"(\w+ \(\d+\))</option>", open_flower.get(path).text)

    assert codes("/failed") == ["invalid_symbol (2)", "poison (0)"]
    assert codes("/failed?state=resolved") == ["invalid_symbol (1)", "poison (1)"]


def test_a_long_payload_is_cut_on_the_page(open_flower: Flower, connection: Connection):
    [task] = add(connection, record(payload=b"x" * 300_000))
    page = open_flower.get(f"/failed/{task}").text
    assert "the download has all of it" in page
    assert page.count("x") < 150_000


@pytest.mark.parametrize("path", ["/failed/999999", "/failed/99999999999999999999999", "/failed/999999/payload"])
def test_a_task_that_is_not_there_is_404(open_flower: Flower, connection: Connection, path: str):
    reply = open_flower.get(path)
    assert reply.status == 404
    assert "There is no failed task 9999" in reply.text


@pytest.mark.parametrize(
    ("path", "status"), [("/failed/999999", 404), ("/failed?sort=x", 400), ("/failed?text=%3Cscript%3E%00", 400)]
)
def test_errors_stand_in_flowers_frame(open_flower: Flower, connection: Connection, path: str, status: int):
    reply = open_flower.get(path)
    assert reply.status == status
    assert re.search(r'<a class="nav-link[^"]*"\s+href="/failed"', reply.text)
    assert f'<h1 class="fs-5">{status}</h1>' in reply.text
    assert "<script>\x00" not in reply.text


def test_a_bug_of_ours_stands_in_flowers_frame_without_its_traceback(open_flower: Flower, connection: Connection):
    # A row as no version of ours writes it.
    add(connection, record())
    connection.execute(text("ALTER TABLE dbstorage.failed_tasks DROP CONSTRAINT failed_tasks_state_check"))
    connection.execute(text("UPDATE dbstorage.failed_tasks SET state = 'lost'"))
    connection.commit()
    try:
        reply = open_flower.get("/failed?state=all")
    finally:
        connection.execute(text("UPDATE dbstorage.failed_tasks SET state = 'failed'"))
        connection.execute(
            text(
                "ALTER TABLE dbstorage.failed_tasks ADD CONSTRAINT failed_tasks_state_check "
                "CHECK (state IN ('failed', 'retrying', 'resolved', 'discarded'))"
            )
        )
        connection.commit()
    assert reply.status == 500
    assert "Something went wrong in Flower: its log says what." in reply.text
    assert 'href="/service"' in reply.text
    assert "Traceback" not in reply.text


def test_what_is_new_is_told_apart_from_what_matches(open_flower: Flower, connection: Connection):
    first, second = add(connection, record(), record())
    assert open_flower.get(f"/failed/total?newer_than={first}").json == {"total": 2, "new": 1}
    assert open_flower.get(f"/failed/total?code=poison&newer_than={second}").json == {"total": 0, "new": 0}


def test_both_orders_of_a_conflict_stand_on_the_page(open_flower: Flower, connection: Connection):
    def came(**fields: object) -> dict[str, Any]:
        return order(f"o-{EVIL}", "user-1", **fields)

    connection.execute(text("""INSERT INTO "User" ("userID", email) VALUES ('user-1', 'joe@example.com')"""))
    store_orders(connection, inspect_shape(connection), [close_order(came(quantity=2)["message"])])
    [task] = add(connection, record(code="order_conflict", payload=json.dumps(came(quantity=3)).encode()))
    page = open_flower.get(f"/failed/{task}").text
    assert EVIL not in page
    differing = re.findall(r'<tr class="failed-differs">(.*?)</tr>', page, re.DOTALL)
    assert [re.findall(r">([^<>\s]+)<", row) for row in differing] == [["quantity", "2", "3", "differs"]]
    connection.execute(text('DELETE FROM "Orders"'))
    connection.execute(text('DELETE FROM "User"'))
    connection.commit()


def test_states_of_the_tasks_on_the_page(open_flower: Flower, connection: Connection):
    [task] = add(connection, record(state="resolved", attempts=2))
    [found] = open_flower.get(f"/failed/states?ids={task},999").json["tasks"]
    assert (found["id"], found["state"], found["attempts"], found["retry_at"]) == (task, "resolved", 2, "")


def test_retry_and_discard_for_one_a_selection_and_all_that_match(open_flower: Flower, connection: Connection):
    ids = add(connection, *(record(code="a" if number < 4 else "b") for number in range(6)))

    def change(what: str, **fields: object) -> int:
        number = open_flower.post(f"/failed/{what}", {"up_to": ids[-1], **fields}).json["changed"]
        return int(number)

    assert change("retry", ids=ids[0]) == 1
    assert change("retry", ids=ids[0]) == 0
    assert change("discard", ids=f"{ids[0]},{ids[1]}") == 2
    assert change("retry", code="a") == 2
    assert states(connection) == ["discarded", "discarded", "retrying", "retrying", "failed", "failed"]
    assert open_flower.get("/failed/count/discard").json == {
        "count": 4, "up_to": ids[-1], "codes": {"a": 2, "b": 2},
    }  # fmt: skip
    assert open_flower.get("/failed/count/retry?state=retrying").json == {
        "count": 0, "up_to": 0, "codes": {},
    }  # fmt: skip
    assert change("discard", state="failed") == 2
    assert change("discard", state="all") == 2


def test_nothing_changes_that_nobody_was_asked_about(open_flower: Flower, connection: Connection):
    first, later = add(connection, record(), record())
    assert open_flower.post("/failed/discard").status == 400
    assert open_flower.post("/failed/discard", {"up_to": "x"}).status == 400
    assert open_flower.post("/failed/discard", {"up_to": first}).json["changed"] == 1
    assert states(connection) == ["discarded", "failed"]
    assert later > first


def test_a_failed_task_of_flowers_own_page_leads_to_its_row(open_flower: Flower, connection: Connection):
    [task] = add(connection, record(task_id="createCloseOrder:a/b c?", state="resolved"))
    assert shown(open_flower.get(f"/failed?task_id={quote('createCloseOrder:a/b c?')}").text) == [task]


def test_without_a_database_the_page_says_so(start_flower: StartFlower):
    flower = start_flower(DATABASE_URL="postgresql://joe:secret@127.0.0.1:1/nowhere", FLOWER_UNAUTHENTICATED_API="true")
    for path in ("/failed", "/failed/1"):
        reply = flower.get(path)
        assert reply.status == 503
        assert "The database cannot be used: " in reply.text
        assert ">Failed</a>" in reply.text
        assert "secret" not in reply.text
    for reply in (
        flower.get("/failed/states?ids=1"),
        flower.get("/failed/count/retry"),
        flower.get("/failed/1/payload"),
        flower.post("/failed/retry", {"up_to": 1}),
    ):
        assert reply.status == 503
        assert reply.json["error"].startswith("The database cannot be used: ")
    assert flower.get("/tasks").status == 200


def test_a_slow_database_does_not_hold_up_flower(open_flower: Flower, connection: Connection):
    # The page waits for a lock, and Flower's other pages do not wait for the page.
    connection.execute(text("LOCK TABLE dbstorage.failed_tasks IN ACCESS EXCLUSIVE MODE"))
    waiting = threading.Thread(target=open_flower.get, args=("/failed",))
    waiting.start()
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'dbstorage.failed_tasks'::regclass")
    wait_until(lambda: connection.scalar(waits), "the page to wait for the lock")
    assert open_flower.get("/healthcheck").status == 200
    assert waiting.is_alive()
    connection.rollback()
    waiting.join()
