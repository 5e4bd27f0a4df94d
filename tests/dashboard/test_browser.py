"""The Failed page in a real browser, with a real worker behind it."""

import json
from typing import Any

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select
from sqlalchemy import Connection, text

from tests.dashboard.conftest import StartFlower
from tests.dashboard.page_in_browser import Page
from tests.failed_tasks.records import add, record
from tests.service.platform import order
from tests.service.worker import Worker
from tests.waiting import wait_until

MARKUP = "<img src=x onerror=\"document.title='broken in'\">"


def unknown_user(order_id: str, user_id: str) -> dict[str, Any]:
    """The record of an order that no user belongs to."""
    return record(
        order_id=order_id,
        user_id=user_id,
        code="user_not_found",
        payload=json.dumps(order(order_id, user_id)).encode(),
    )


def test_a_retried_task_goes_through_on_the_page(page: Page, worker: Worker, connection: Connection):
    [task] = add(connection, unknown_user("order-1", "late-user"))
    page.open("/failed")
    marker = page.one("#failed-tasks")
    assert page.state(task) == "failed"
    # Somebody else's program adds the user, so that nothing retries the order by itself.
    connection.execute(text('INSERT INTO "User" ("userID", email) VALUES (:user, :user)'), {"user": "late-user"})
    connection.commit()

    page.click("retry", task)
    assert page.question == f"Retry 1 task (id {task})?"
    assert page.confirm() == "1 task is retried."
    page.wait_for(task, "resolved")
    assert "text-bg-success" in str(page.row(task, "[data-field=state]").get_attribute("class"))
    assert not page.row(task, "button[data-change=retry]").is_enabled()
    assert marker.is_displayed(), "the page was not loaded anew"
    assert connection.scalar(text('SELECT "userId" FROM "Orders" WHERE "orderId" = \'order-1\'')) == "late-user"


def test_a_selection_is_discarded(page: Page, worker: Worker, connection: Connection):
    first, second, third = add(connection, record(), record(state="retrying"), record())
    page.open("/failed")
    assert not page.one("button[data-change=discard][data-of=selected]").is_enabled()
    for task in (first, second):
        page.row(task, "[data-select]").click()
    assert page.text("#failed-selected") == "2 selected"
    page.click("discard", "selected")
    assert page.question == "Discard 2 tasks of those selected?"
    assert page.confirm() == "2 tasks are discarded."
    page.wait_for(first, "discarded")
    page.wait_for(second, "discarded")
    assert page.state(third) == "failed"
    page.one("#failed-select-all").click()
    assert page.text("#failed-selected") == "3 selected"


def test_all_that_match_are_retried_after_a_question(page: Page, worker: Worker, connection: Connection):
    ids = add(connection, *(unknown_user(f"order-{number}", "nobody") for number in range(10, 13)))
    [other] = add(connection, record())
    page.open("/failed?size=25")
    Select(page.one("select[name=code]")).select_by_value("user_not_found")
    page.one("input[name=user]").send_keys("nobody\n")
    wait_until(lambda: _gone(page, other), "the filtered page")
    assert page.text("#failed-total") == "3 tasks match."

    page.click("retry", "matching")
    assert page.question == "Retry 3 tasks that match?"
    page.cancel()
    assert [page.state(task) for task in ids] == ["failed"] * 3

    page.click("retry", "matching")
    assert page.question == "Retry 3 tasks that match?"
    assert page.confirm() == "3 tasks are retried."
    # They fail again, for the same reason.
    wait_until(lambda: [page.row_text(task, "[data-field=attempts]") for task in ids] == ["2"] * 3, "another attempt")
    assert [page.state(task) for task in ids] == ["failed"] * 3
    attempts = connection.scalars(text("SELECT attempts FROM dbstorage.failed_tasks ORDER BY id")).all()
    assert attempts == [2, 2, 2, 1]


def test_when_somebody_else_was_faster_the_page_says_so(page: Page, worker: Worker, connection: Connection):
    [task] = add(connection, record())
    page.open("/failed")
    page.one("body")
    connection.execute(text("UPDATE dbstorage.failed_tasks SET state = 'discarded'"))
    connection.commit()
    # Either the click or the page's own look comes first; both end in the truth.
    button = page.one(f'button[data-change="retry"][data-of="{task}"]')
    if button.is_enabled():
        button.click()
    page.wait_for(task, "discarded")
    wait_until(lambda: not button.is_enabled(), "the button to go out")
    assert not page.one("#failed-dialog").is_displayed()


def test_details_are_readable_and_lead_to_a_retry(page: Page, worker: Worker, connection: Connection):
    [task] = add(connection, unknown_user(f"order-{MARKUP}", "nobody"))
    page.open("/failed")
    page.row(task, "a").click()
    wait_until(lambda: page.browser.current_url.endswith(f"/failed/{task}"), "the details")
    assert MARKUP in page.browser.find_element(By.ID, "failed-tasks").text
    assert '\n    "symbol": "btc",\n' in page.text("#failed-payload")
    page.click("retry", task)
    assert page.question == f"Retry 1 task (id {task})?"
    assert page.confirm() == "1 task is retried."
    wait_until(lambda: page.row_text(task, "[data-field=attempts]") == "2", "another attempt")
    page.click("discard", task)
    wait_until(lambda: page.question == f"Discard 1 task (id {task})?", "the question")
    page.confirm()
    page.wait_for(task, "discarded")


def test_it_works_behind_a_prefix_and_a_login(
    browser: Chrome, start_flower: StartFlower, worker: Worker, connection: Connection
):
    [task] = add(connection, record(), record())[:1]
    flower = start_flower("--url_prefix=flower", prefix="/flower", FLOWER_BASIC_AUTH="joe:secret")
    page = Page(browser, flower)
    browser.get(flower.url.replace("://", "://joe:secret@") + "/tasks")
    page.one("a.nav-link[href$='/failed']").click()
    wait_until(lambda: browser.current_url.endswith("/flower/failed"), "the page")
    page.click("discard", task)
    assert page.question == f"Discard 1 task (id {task})?"
    assert page.confirm() == "1 task is discarded."
    page.wait_for(task, "discarded")


def _gone(page: Page, task: int) -> bool:
    try:
        return page.browser.find_elements(By.CSS_SELECTOR, f'[data-id="{task}"]') == []
    except StaleElementReferenceException:
        return False
