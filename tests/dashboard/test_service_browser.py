"""The page Service in a real browser, and what axe-core finds on all pages of ours."""

from pathlib import Path
from typing import Any

import pytest
import redis
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from sqlalchemy import Connection

from dbstorage.operating.last_hour import Point, add_point
from dbstorage.redis_access.keys import history_key
from dbstorage.settings import load_settings
from tests.dashboard.browser import text_of
from tests.dashboard.conftest import StartFlower
from tests.dashboard.flower_process import Flower
from tests.failed_tasks.records import add, record
from tests.node import node_packages
from tests.waiting import wait_until

#: What the page shows is WCAG 2.2 on levels A and AA.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
NOWHERE = {"DATABASE_URL": "postgresql://joe@127.0.0.1:1/nowhere", "REDIS_URL": "redis://127.0.0.1:1/0"}


@pytest.fixture(scope="module")
def axe() -> str:
    packages = node_packages(Path(__file__).with_name("axe"))
    return (packages / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.fixture(autouse=True)
def an_hour(module_environment: dict[str, str]) -> None:
    settings = load_settings(module_environment)
    client: Any
    with redis.Redis.from_url(settings.redis_url) as client:
        now = client.time()[0]
        for ago in range(300, 0, -10):
            add_point(client, settings, Point(at=now - ago, seconds=10, stored=ago, entries=ago, unread=ago, pending=1))


def one(browser: Chrome, selector: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, selector)


def open_page(browser: Chrome, flower: Flower, path: str, *, width: int = 1300, dark: bool = False) -> None:
    browser.set_window_size(width, 1000)
    browser.get(flower.url + path)
    theme = "dark" if dark else "light"
    script = f"document.documentElement.setAttribute('data-bs-theme', '{theme}')"
    browser.execute_script(script)


def is_shown(browser: Chrome) -> bool:
    verdict = text_of(browser, "#service-verdict")
    return verdict != "" and "Looking" not in verdict


def width_of_page(browser: Chrome) -> tuple[int, int]:
    page, window = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    return page, window


def violations(browser: Chrome, axe: str) -> list[str]:
    browser.execute_script(axe)
    found = browser.execute_async_script(
        "const [wanted, done] = arguments;"
        # While a colour fades into another, neither is what people read.
        "const fading = document.getAnimations().filter((each) => each instanceof CSSTransition);"
        "Promise.allSettled(fading.map((each) => each.finished))"
        # Flower's own bar is not ours to colour.
        ".then(() => axe.run({exclude: ['nav.app-navbar']}, {runOnly: {type: 'tag', values: wanted}}))"
        ".then((result) => done(result.violations));",
        RULES,
    )
    return [
        f"{violation['id']}: {node['html'][:200]} {node.get('failureSummary', '')}"
        for violation in found
        for node in violation["nodes"]
    ]


def test_the_verdict_and_five_pictures_are_shown(browser: Chrome, open_flower: Flower, connection: Connection):
    open_page(browser, open_flower, "/service")
    wait_until(lambda: is_shown(browser), "the verdict")
    assert text_of(browser, "#service-verdict").startswith("nobody reads: no worker runs")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#service-charts figure canvas")) == 5
    summary = text_of(browser, "#service-charts figure [data-summary]")
    assert summary.startswith("stored orders ")
    assert "nothing yet" not in summary
    errors = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]  # type: ignore[no-untyped-call]
    assert errors == []


def test_a_lone_answer_is_in_the_picture(
    browser: Chrome, open_flower: Flower, connection: Connection, module_environment: dict[str, str]
):
    settings = load_settings(module_environment)
    with redis.Redis.from_url(settings.redis_url) as client:
        client.delete(history_key(settings))  # each test adds an hour of its own, and a picture takes one in order
        now: Any = client.time()
        add_point(client, settings, Point(at=now[0], seconds=10, answer_median=20, answer_slowest=40))
        add_point(client, settings, Point(at=now[0] + 300, seconds=10))
    open_page(browser, open_flower, "/service")
    wait_until(lambda: is_shown(browser), "the verdict")
    count = (
        "const canvas = document.querySelectorAll('#service-charts figure')[3].querySelector('canvas');"
        "const colour = getComputedStyle(document.documentElement).getPropertyValue('--flower-warning');"
        "const paint = document.createElement('canvas').getContext('2d');"
        "paint.fillStyle = colour.trim(); paint.fillRect(0, 0, 1, 1);"
        "const wanted = paint.getImageData(0, 0, 1, 1).data.join();"
        "const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;"
        "let count = 0;"
        "for (let at = 0; at < pixels.length; at += 4) { count += pixels.slice(at, at + 4).join() === wanted; }"
        "return count;"
    )
    # Flower answers several pages with one look at Redis.
    wait_until(lambda: browser.execute_script(count) > 4, "the point")


def test_the_servers_are_called_what_they_are(
    browser: Chrome, open_flower: Flower, connection: Connection, module_environment: dict[str, str]
):
    with redis.Redis.from_url(load_settings(module_environment).redis_url) as client:
        told: Any = client.info("server")
    name = f"Valkey {told['valkey_version']}" if "valkey_version" in told else f"Redis {told['redis_version']}"
    open_page(browser, open_flower, "/service")
    wait_until(lambda: is_shown(browser), "the verdict")
    assert text_of(browser, "#service-servers tbody td") == name


def test_it_is_paused_and_resumed_by_keyboard_alone(browser: Chrome, open_flower: Flower, connection: Connection):
    open_page(browser, open_flower, "/service")
    wait_until(lambda: one(browser, "#service-pause-button").is_enabled(), "the button")
    one(browser, "#service-reason").send_keys("a new disk", Keys.ENTER)
    wait_until(lambda: "a new disk" in text_of(browser, "#service-verdict"), "the pause")
    assert text_of(browser, "#service-said") == "The service is paused."
    button = one(browser, "#service-pause-button")
    assert button.text == "Resume the service"
    wait_until(lambda: browser.switch_to.active_element == button, "the focus to be back")
    button.send_keys(Keys.ENTER)
    wait_until(lambda: text_of(browser, "#service-said") == "The service goes on.", "the end of the pause")
    wait_until(lambda: "resume" in text_of(browser, "#service-operations"), "the trail")


def test_the_banner_says_on_flowers_own_pages_what_is_wrong(browser: Chrome, open_flower: Flower):
    open_page(browser, open_flower, "/workers")
    banner = one(browser, "#dbstorage-banner")
    wait_until(banner.is_displayed, "the banner")
    assert banner.text.startswith("DBStorage: nobody reads: no worker runs")


@pytest.mark.parametrize(
    "path",
    [
        "/service",
        "/failed",
        "/failed?by=sentence",
        "/failed?by=user",
        "/failed/{id}",
        "/failed/999999",
        "/service/find?what=order-1",
    ],
)
def test_no_page_of_ours_scrolls_sideways_on_a_telephone(
    browser: Chrome, open_flower: Flower, connection: Connection, path: str
):
    [task] = add(connection, record(user_id="u" * 60, order_id="o" * 200, message="a long sentence " * 20))
    open_page(browser, open_flower, path.replace("{id}", str(task)), width=390)
    if path == "/service":
        wait_until(lambda: is_shown(browser), "the verdict")
    page, window = width_of_page(browser)
    assert page <= window


def test_the_buttons_over_the_table_stand_in_one_line_on_a_small_desktop(
    browser: Chrome, open_flower: Flower, connection: Connection
):
    add(connection, *(record() for _ in range(30)))
    open_page(browser, open_flower, "/failed?state=all", width=1280)
    one(browser, ".failed-table thead input[type=checkbox]").click()
    wait_until(lambda: text_of(browser, "#failed-selected") != "", "the number of selected tasks")
    tops = browser.execute_script(
        "return [...document.querySelectorAll('.failed-toolbar > *')].map((each) => each.getBoundingClientRect())"
        ".filter((each) => each.height > 0).map((each) => Math.round(each.top + each.height / 2))"
    )
    assert len(tops) >= 8
    assert max(tops) - min(tops) < 4
    heights = browser.execute_script(
        "return [...document.querySelectorAll('.failed-toolbar button')].map((each) => each.offsetHeight)"
    )
    assert max(heights) == min(heights), "no button has a second line"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(
    "path",
    [
        "/service",
        "/failed?state=all",
        "/failed?by=sentence",
        "/service/find?what=order-a11y",
        "/failed/{id}",
        "/failed/999999",
    ],
)
def test_axe_finds_nothing_to_complain_of(
    browser: Chrome, open_flower: Flower, connection: Connection, axe: str, path: str, dark: bool
):
    task, *_ = add(connection, *(record(state=state, order_id="order-a11y") for state in (
        "failed", "retrying", "resolved", "discarded",
    )))  # fmt: skip
    open_page(browser, open_flower, path.replace("{id}", str(task)), dark=dark)
    if path == "/service":
        wait_until(lambda: is_shown(browser), "the verdict")
    wait_until(one(browser, "#dbstorage-banner").is_displayed, "the banner")
    assert violations(browser, axe) == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("change", ["discard", "mend"])
def test_axe_finds_nothing_in_the_dialogs_and_a_telephone_shows_them_whole(
    browser: Chrome, open_flower: Flower, connection: Connection, axe: str, change: str, dark: bool
):
    payload = b'{"function":"createCloseOrder","message":{"orderId":"o","symbol":"doge"}}'
    add(connection, *(record(payload=payload) for _ in range(101)))
    open_page(browser, open_flower, "/failed?size=25", dark=dark, width=390)
    wait_until(one(browser, "#dbstorage-banner").is_displayed, "the banner")
    one(browser, f"button[data-change={change}][data-of=matching]").send_keys(Keys.ENTER)
    dialog = one(browser, "#mend-dialog" if change == "mend" else "#failed-dialog")
    wait_until(dialog.is_displayed, "the dialog")
    if change == "mend":
        # The failures name no field in common.
        Select(one(browser, "#mend-rows select")).select_by_visible_text("symbol")
        one(browser, "#mend-rows input").send_keys("btc", Keys.ENTER)
        wait_until(lambda: "still fail" in text_of(browser, "#mend-result"), "the result")
    assert violations(browser, axe) == []
    page, window = width_of_page(browser)
    assert page <= window


def test_without_any_server_the_page_says_what_is_wrong(browser: Chrome, start_flower: StartFlower):
    flower = start_flower(FLOWER_UNAUTHENTICATED_API="true", CELERY_BROKER_URL=NOWHERE["REDIS_URL"], **NOWHERE)
    open_page(browser, flower, "/service")
    wait_until(lambda: is_shown(browser), "the verdict")
    assert text_of(browser, "#service-verdict").startswith("nothing is read: Redis cannot be used: ")
    assert "unknown" in text_of(browser, "#service-figures")
    assert not one(browser, "#service-pause-button").is_enabled()
