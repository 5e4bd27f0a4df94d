"""A headless Chromium."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from selenium.common.exceptions import ElementNotInteractableException, StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from tests.waiting import wait_until

OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1600,1000",
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


#: In one step, because pages put new elements in the place of what they show.
_TEXT = """
const element = document.querySelector(arguments[0]);
const shown = element && element.checkVisibility({visibilityProperty: true});
return shown ? element.innerText.replaceAll("\\t", " ").trim() : "";
"""


def text_of(browser: Chrome, selector: str) -> str:
    """What a person reads in the first element that is found; nothing where it is not shown."""
    text: str = browser.execute_script(_TEXT, selector)
    return text


def click_on(browser: Chrome, selector: str) -> None:
    """Click on the first element that is found, once it is shown, or on what the page has just put in its place."""
    wait_until(lambda: _clicked(browser, selector), f"{selector} to be there for a click")


def _clicked(browser: Chrome, selector: str) -> bool:
    try:
        browser.find_element(By.CSS_SELECTOR, selector).click()
    except (StaleElementReferenceException, ElementNotInteractableException):
        return False
    return True


@contextmanager
def chromium() -> Iterator[Chrome]:
    """The browser with a profile of its own; skips where there is none, except in continuous integration."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        sentence = "No Chromium with its driver is here: the Failed page is not tried in a browser."
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence + " On Debian: apt-get install chromium chromium-driver.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ChromeOptions()
        options.binary_location = browser
        for option in (*OPTIONS, f"--user-data-dir={profile}"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        window = Chrome(options=options, service=Service(driver))
        try:
            yield window
        finally:
            window.quit()
