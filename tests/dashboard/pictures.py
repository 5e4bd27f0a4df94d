"""Takes the pictures in docs/images, of the pages of a service that runs; CONTRIBUTING.md says how."""

import sys
from pathlib import Path

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.dashboard.browser import chromium
from tests.waiting import wait_until

IMAGES = Path(__file__).parents[2] / "docs" / "images"
WIDTH = 1440
#: Name -> the page, its height, and what has to be there before the picture is taken.
PICTURES = {
    "service-page.png": ("/service", 1116, "#service-charts figure canvas"),
    "failed-page.png": ("/failed", 860, "[data-id]"),
}


def take_pictures(browser: Chrome, flower: str, directory: Path) -> None:
    """Take all of them from the Flower at this URL."""
    for name, (page, height, drawn) in PICTURES.items():
        size = {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(flower + page)
        wait_until(lambda: browser.find_elements(By.CSS_SELECTOR, drawn), f"{page} to be drawn")  # noqa: B023
        browser.save_screenshot(str(directory / name))
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


if __name__ == "__main__":
    with chromium() as window:
        take_pictures(window, sys.argv[1].rstrip("/"), IMAGES)
