"""Many failed tasks on the page: groups, mending, how a retry goes, and what comes in meanwhile, in a real browser."""

import json
from functools import partial

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from sqlalchemy import Connection, text

from tests.dashboard.page_in_browser import Page
from tests.failed_tasks.records import add, add_many, record
from tests.service.platform import order
from tests.service.worker import Worker
from tests.waiting import wait_until

HOSTILE = "<script>document.title='broken in'</script>\u202e"


@pytest.fixture
def user(connection: Connection) -> str:
    connection.execute(text('TRUNCATE "Orders", "User"'))
    connection.execute(text("""INSERT INTO "User" ("userID", email) VALUES ('user-1', 'joe@example.com')"""))
    connection.commit()
    return "user-1"


def payload(order_id: str, **fields: object) -> bytes:
    return json.dumps(order(order_id, "user-1", **fields)).encode()


def cells(page: Page) -> list[list[str]]:
    """Number, code and sentence, or user, of each group."""
    script = (
        "return Array.from(document.querySelectorAll('#failed-groups tbody tr'), (row) => "
        "Array.from(row.cells).slice(0, 3).map((cell) => cell.textContent.trim()))"
    )
    found: list[list[str]] = page.browser.execute_script(script)
    return found


def test_a_group_is_shown_and_discarded_and_nothing_else(page: Page, connection: Connection):
    add(
        connection,
        record(message="symbol is 'doge'."),
        record(message="symbol is 'xrp'."),
        record(message="type is 'x'."),
    )
    page.open("/failed?by=sentence")
    assert cells(page) == [["2", "invalid_symbol", "symbol is …."], ["1", "invalid_symbol", "type is …."]]
    page.one("button[data-change=discard]").click()
    assert page.question == "Discard 2 tasks of this group?"
    assert page.confirm() == "2 tasks are discarded."
    wait_until(lambda: cells(page) == [["1", "invalid_symbol", "type is …."]], "the group to go")
    # More of it comes, and the page shows that by itself; the focus stays where it was.
    page.browser.execute_script("document.querySelector('#failed-groups a').focus()")
    add(connection, record(message="type is 'y'."))
    wait_until(lambda: cells(page) == [["2", "invalid_symbol", "type is …."]], "the group to grow")
    assert page.focused.tag_name == "a"
    page.one("#failed-groups a").click()
    wait_until(lambda: page.text("#failed-total") == "2 tasks match.", "its tasks")


def test_failures_by_user_name_no_user_that_is_not_there(page: Page, connection: Connection):
    add(connection, record(user_id=HOSTILE), record(user_id=HOSTILE), record(user_id=None, code="invalid_entry"))
    page.open("/failed?by=user")
    assert [row[2] for row in cells(page)] == ["<script>document.title='broken in'</script>\\u202e", "no user"]
    assert len(page.browser.find_elements(By.CSS_SELECTOR, "#failed-groups button[data-change=retry]")) == 1
    page.one("button[data-change=discard]").click()
    assert page.question == "Discard 2 tasks of this group?"
    assert page.confirm() == "2 tasks are discarded."


def test_tasks_are_mended_once_the_rules_were_asked(page: Page, worker: Worker, connection: Connection, user: str):
    good, bad = add(
        connection,
        record(payload=payload("o-1", symbol="doge")),
        record(payload=payload("o-2", symbol="doge", quantity="many")),
    )
    page.open("/failed?code=invalid_symbol")
    page.click("mend", "matching")
    wait_until(page.one("#mend-dialog").is_displayed, "the dialog")
    value = page.one("#mend-rows input")
    assert Select(page.one("#mend-rows select")).first_selected_option.text == "symbol"
    assert not page.one("#mend-confirm").is_enabled()
    value.send_keys("BTC", Keys.ENTER)
    wait_until(page.one("#mend-confirm").is_enabled, "the result")
    result = page.text("#mend-result")
    assert result.startswith("1 task would be mended and retried.")
    assert f"{good} symbol doge btc" in result
    assert "1 task would still fail: quantity is …; expected a finite number" in result
    assert connection.scalar(text("SELECT count(*) FROM dbstorage.failed_tasks WHERE state = 'failed'")) == 2

    # Other values have to be tried anew.
    value.send_keys("x")
    assert not page.one("#mend-confirm").is_enabled()
    value.send_keys(Keys.BACKSPACE, Keys.ENTER)
    wait_until(page.one("#mend-confirm").is_enabled, "the result")
    assert page.focused == page.one("#mend-confirm")
    page.focused.send_keys(Keys.ENTER)
    page.wait_for_closed("#mend-dialog")
    wait_until(lambda: page.said == "1 task is mended and retried.", "what it says")
    page.wait_for(good, "resolved")
    assert page.state(bad) == "failed"
    assert connection.scalar(text('SELECT symbol FROM "Orders"')) == "btc"
    page.open(f"/failed/{good}")
    assert '"symbol": "doge"' in page.text("#failed-original")


def test_a_single_task_is_mended_from_what_it_holds(page: Page, connection: Connection):
    [task] = add(connection, record(code="invalid_open_time", payload=payload("o-1", openTime=HOSTILE)))
    page.open(f"/failed/{task}")
    page.click("mend", task)
    wait_until(page.one("#mend-dialog").is_displayed, "the dialog")
    assert Select(page.one("#mend-rows select")).first_selected_option.text == "openTime"
    value = page.one("#mend-rows input")
    assert value.get_attribute("value") == HOSTILE
    page.one("#mend-try").click()
    wait_until(lambda: "still fail" in page.text("#mend-result") or "already" in page.text("#mend-result"), "it")
    assert not page.one("#mend-confirm").is_enabled()
    value.send_keys(Keys.ESCAPE)
    page.wait_for_closed("#mend-dialog")
    wait_until(lambda: page.focused == page.button("mend", task), "the focus to be back")


def test_a_retry_of_many_says_how_it_went(page: Page, worker: Worker, connection: Connection, user: str):
    add_many(connection, (record(payload=payload(f"o-{n}", symbol="doge" if n else "btc")) for n in range(300)))
    page.open("/failed")
    page.click("retry", "matching")
    assert page.question == "Retry 300 tasks that match?"
    page.confirm()
    wait_until(lambda: page.bulk_actions == ["300 retried: 1 stored, 299 failed again."], "the last line")


def test_what_was_not_tried_yet_is_cancelled(page: Page, connection: Connection, user: str):
    # As far away as an attempt that no worker takes up.
    add_many(connection, (record(function="noSuchCommand") for _ in range(3)))
    page.open("/failed?size=25")
    page.click("retry", "matching")
    page.confirm()
    wait_until(lambda: any("0 of 3 done" in line and "3 left" in line for line in page.bulk_actions), "the progress")
    # Whoever comes later sees it too.
    page.open("/failed?size=25")
    wait_until(lambda: page.bulk_actions and "3 left" in page.bulk_actions[0], "the progress")
    stop = page.one("#bulk-actions button")
    assert stop.get_attribute("aria-label") == "Cancel: Retry 3 tasks"
    stop.send_keys(Keys.ENTER)
    wait_until(lambda: page.bulk_actions == ["3 retried: 3 cancelled."], "the last line")
    found = connection.scalars(text("SELECT DISTINCT state FROM dbstorage.failed_tasks")).all()
    assert found == ["failed"]


def test_an_empty_page_tells_of_what_comes_in(page: Page, connection: Connection):
    page.open("/failed")
    assert page.text("#failed-total") == "0 tasks match."
    add(connection, record(), record(), record(code="user_not_found"))
    wait_until(lambda: page.text("#failed-new") == "3 new, show", "the news")
    assert page.text("#failed-total") == "3 tasks match."
    # One goes, another comes: what is new is told all the same.
    connection.execute(text("UPDATE dbstorage.failed_tasks SET state = 'resolved' WHERE code = 'user_not_found'"))
    connection.commit()
    add(connection, record())
    wait_until(lambda: page.text("#failed-total") == "3 tasks match.", "the number")
    page.one("#failed-new a").click()
    wait_until(lambda: len(page.browser.find_elements(By.CSS_SELECTOR, "tr[data-id]")) == 3, "the rows")
    assert page.text("#failed-new") == ""


def test_to_discard_more_than_a_hundred_their_number_is_typed(page: Page, connection: Connection):
    add_many(connection, [record() for _ in range(99)] + [record(code="order_conflict") for _ in range(2)])
    page.open("/failed?size=25")
    page.click("discard", "matching")
    assert page.question == "Discard 101 tasks that match?"
    assert page.text("#failed-codes").splitlines() == ["invalid_symbol: 99", "order_conflict: 2"]
    button, number = page.one("#failed-confirm"), page.one("#failed-number")
    wait_until(lambda: page.focused == number, "the focus")
    number.send_keys("100", Keys.ENTER)
    assert not button.is_enabled()
    number.send_keys(Keys.BACKSPACE, "1", Keys.ENTER)
    page.wait_for_closed("#failed-dialog")
    wait_until(lambda: page.said == "101 tasks are discarded.", "what it says")


def test_the_focus_goes_back_to_the_row(page: Page, connection: Connection):
    first, second = add(connection, record(), record())
    page.open("/failed")
    for task in (first, second):
        button = page.button("discard", task)
        assert button.get_attribute("aria-label") == f"Discard {task}"
        button.send_keys(Keys.ENTER)
        assert page.question == f"Discard 1 task (id {task})?"
        page.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
        page.wait_for_closed("#failed-dialog")
        wait_until(partial(_is_focused, page, button), "the focus to be back")
    page.button("discard", first).send_keys(Keys.ENTER)
    wait_until(page.one("#failed-dialog").is_displayed, "the dialog")
    page.confirm()
    page.wait_for(first, "discarded")
    script = "return document.activeElement.closest('tr')?.dataset.id"
    wait_until(lambda: page.browser.execute_script(script) == str(first), "the focus to be in the row")


def test_moments_are_local_and_relative(page: Page, connection: Connection):
    [task] = add(connection, record())
    connection.execute(text("UPDATE dbstorage.failed_tasks SET first_failed_at = now() - interval '3 days'"))
    connection.commit()
    page.browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Tokyo"})
    try:
        page.open("/failed")
        shown = page.one(f'[data-id="{task}"] time')
        wait_until(lambda: shown.text.endswith("3 days ago"), "the moment")
        at = connection.scalar(
            text(
                "SELECT to_char(first_failed_at AT TIME ZONE 'Asia/Tokyo', 'YYYY-MM-DD HH24:MI:SS')"
                " FROM dbstorage.failed_tasks"
            )
        )
        assert " ".join(shown.text.split()).startswith(at)
        assert str(shown.get_attribute("title")).endswith("Z")
    finally:
        page.browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})


def _is_focused(page: Page, element: WebElement) -> bool:
    return bool(page.focused == element)
