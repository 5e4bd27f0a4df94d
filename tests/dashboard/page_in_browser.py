"""The Failed page as a person sees it."""

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.dashboard.browser import click_on, text_of
from tests.dashboard.flower_process import Flower
from tests.waiting import wait_until


class Page:
    """A window on the page, and what one does there."""

    def __init__(self, browser: Chrome, flower: Flower) -> None:
        self.browser = browser
        self.flower = flower

    def open(self, path: str) -> None:
        self.browser.get(self.flower.url + path)

    def one(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return text_of(self.browser, selector)

    def row(self, task: int, selector: str) -> WebElement:
        return self.one(f'[data-id="{task}"] {selector}')

    def row_text(self, task: int, selector: str) -> str:
        return self.text(f'[data-id="{task}"] {selector}')

    def state(self, task: int) -> str:
        return self.row_text(task, "[data-field=state]")

    def button(self, change: str, of: object) -> WebElement:
        return self.one(f'button[data-change="{change}"][data-of="{of}"]')

    def click(self, change: str, of: object) -> None:
        click_on(self.browser, f'button[data-change="{change}"][data-of="{of}"]')

    @property
    def question(self) -> str:
        """What the dialog asks, once it is open."""
        return wait_until(lambda: self.text("#failed-question"), "the question")

    @property
    def said(self) -> str:
        return self.text("#failed-alert")

    def confirm(self) -> str:
        """Press the dialog's button; what the page says then."""
        said = self.said
        click_on(self.browser, "#failed-confirm")
        self.wait_for_closed("#failed-dialog")
        wait_until(lambda: self.said != said, "what it says")
        return self.said

    def cancel(self) -> None:
        click_on(self.browser, "#failed-dialog .modal-footer [data-bs-dismiss]")
        self.wait_for_closed("#failed-dialog")

    def wait_for_closed(self, dialog: str) -> None:
        wait_until(lambda: not self.one(dialog).is_displayed(), "the dialog to close")

    def wait_for(self, task: int, state: str) -> None:
        wait_until(lambda: self.state(task) == state, f"task {task} to be {state} on the page")

    @property
    def focused(self) -> WebElement:
        return self.browser.switch_to.active_element

    @property
    def bulk_actions(self) -> list[str]:
        return [action.text for action in self.browser.find_elements(By.CSS_SELECTOR, "#bulk-actions li")]
