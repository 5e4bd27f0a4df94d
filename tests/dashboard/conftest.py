import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Protocol

import pytest
import redis
from selenium.webdriver import Chrome
from sqlalchemy import Connection

from dbstorage.database.engine import create_engine
from dbstorage.database.url import parse_database_url
from dbstorage.embedded.postgres import EmbeddedPostgres
from dbstorage.embedded.redis import EmbeddedRedis
from tests.conftest import new_database
from tests.dashboard.browser import chromium
from tests.dashboard.flower_process import Flower
from tests.dashboard.page_in_browser import Page
from tests.service.worker import Worker


class StartFlower(Protocol):
    def __call__(self, *options: str, prefix: str = "", **settings: str) -> Flower: ...


@pytest.fixture(scope="module")
def module_environment(
    redis_server: EmbeddedRedis, postgres_server: EmbeddedPostgres, migrated_template: str
) -> Iterator[dict[str, str]]:
    """The environment for processes that all tests of a module share; Redis is empty at its beginning."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FLOWER_")}
    for database_url in new_database(postgres_server, migrated_template):
        yield {**inherited, "REDIS_URL": redis_server.url, "DATABASE_URL": database_url}


@pytest.fixture(scope="module")
def start_flower(module_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartFlower]:
    """Start a Flower for the module; settings are given as keywords."""
    with ExitStack() as stack:

        def start(*options: str, prefix: str = "", **settings: str) -> Flower:
            directory = tmp_path_factory.mktemp("flower")
            return stack.enter_context(Flower({**module_environment, **settings}, directory, *options, prefix=prefix))

        yield start


@pytest.fixture(scope="module")
def open_flower(start_flower: StartFlower) -> Flower:
    """Flower as `make run` starts it."""
    return start_flower(FLOWER_UNAUTHENTICATED_API="true")


@pytest.fixture
def connection(module_environment: dict[str, str]) -> Iterator[Connection]:
    """A connection to the module's database, without failed tasks."""
    engine = create_engine(parse_database_url(module_environment["DATABASE_URL"]))
    with engine.connect() as connection:
        connection.exec_driver_sql("TRUNCATE dbstorage.failed_tasks CASCADE")
        connection.commit()
        yield connection
    engine.dispose()


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with chromium() as window:
        yield window


@pytest.fixture(scope="module")
def worker(
    browser: Chrome, module_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    with Worker({**module_environment, "USER_WAIT": "0"}, tmp_path_factory.mktemp("worker")) as worker:
        yield worker.start()


@pytest.fixture
def page(browser: Chrome, open_flower: Flower) -> Iterator[Page]:
    page = Page(browser, open_flower)
    yield page
    errors = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]  # type: ignore[no-untyped-call]
    assert errors == []
    assert browser.title != "broken in"
