"""What Flower's own pages and buttons do to our tasks, with a real worker."""

import html
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import quote

import pytest
from sqlalchemy import Connection, text

from tests.dashboard.conftest import StartFlower
from tests.dashboard.flower_process import Flower
from tests.failed_tasks.records import add, record
from tests.service.platform import Platform, order, user
from tests.service.worker import Worker
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def platform(module_environment: dict[str, str]) -> Iterator[Platform]:
    with closing(Platform(module_environment["REDIS_URL"], module_environment["DATABASE_URL"])) as platform:
        yield platform


@pytest.fixture(scope="module")
def worker(module_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    settings = {"USER_WAIT": "3600", "TASK_EVENTS": "all"}
    with Worker({**module_environment, **settings}, tmp_path_factory.mktemp("worker")) as worker:
        yield worker.start()


@pytest.fixture(scope="module")
def flower(start_flower: StartFlower, worker: Worker) -> Flower:
    """Flower that knows the worker and hears its events."""
    flower = start_flower(FLOWER_UNAUTHENTICATED_API="true")
    wait_until(lambda: flower.get("/api/workers?refresh=1").text.strip() not in ("", "{}"), "Flower to know the worker")
    return flower


def task_page(flower: Flower, task_id: str) -> str:
    """Flower's page of a task, waited for."""
    wait_until(lambda: flower.get(f"/task/{quote(task_id)}").status == 200, f"Flower to show {task_id}")
    return html.unescape(flower.get(f"/task/{quote(task_id)}").text)


def test_a_failed_task_links_to_its_row(flower: Flower, platform: Platform, connection: Connection):
    user_entry, _ = platform.send(user("user-1"), order("order-1", "user-1", symbol="doge"))
    platform.wait_until_finished()
    page = task_page(flower, "createCloseOrder:order-1")
    [link] = re.findall(r'href="(/failed\?task_id=[^"]*)"', page)
    assert link == "/failed?task_id=createCloseOrder%3Aorder-1"
    assert "order-1" in flower.get(link).text
    assert "/failed?task_id" not in task_page(flower, f"createUser:{user_entry}")


def basic(login: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}


@pytest.mark.parametrize(
    ("settings", "headers", "reason"),
    [
        ({"FLOWER_BASIC_AUTH": "joe:s,ann:s", "FLOWER_OPERATORS": "joe"}, basic("joe:s"), None),
        (
            {"FLOWER_BASIC_AUTH": "joe:s,ann:s", "FLOWER_OPERATORS": "joe"},
            basic("ann:s"),
            "You may look, and change nothing: FLOWER_OPERATORS says who may.",
        ),
        ({"FLOWER_READ_ONLY": "true"}, {}, "Flower is in read-only mode."),
        ({}, {}, "Without a login nothing can be changed here"),
        ({"FLOWER_UNAUTHENTICATED_API": "true"}, {}, None),
    ],
    ids=["an operator", "who may only look", "read only", "without a login", "whoever reaches it"],
)
def test_buttons_that_would_be_refused_are_not_shown_and_the_page_says_why(
    start_flower: StartFlower,
    worker: Worker,
    platform: Platform,
    settings: dict[str, str],
    headers: dict[str, str],
    reason: str | None,
):
    flower = start_flower(**settings)
    wait_until(lambda: flower.get(f"/worker/{worker.name}", **headers).status == 200, "Flower to know the worker")
    platform.send(order("waits", "nobody yet"))
    task = "/task/createCloseOrder%3Awaits"
    wait_until(lambda: flower.get(task, **headers).status == 200, "Flower to know the task")
    for path, buttons in (
        (f"/worker/{worker.name}", ("worker-shutdown", "worker-pool-grow", "worker-add-consumer", "task-rate-limit-")),
        (task, ("task-revoke",)),
    ):
        page = html.unescape(flower.get(path, **headers).text)
        assert [button in page for button in buttons] == [reason is None] * len(buttons)
        assert ("data-refusal" in page) == (reason is not None)
        assert (reason or "") in page


def test_an_address_is_on_no_page_of_flower(flower: Flower, platform: Platform):
    entry_id, _ = platform.send(user("user-2", "joe@private.example"), order("order-2", "user-2"))
    platform.wait_until_finished()
    assert "joe@private" not in task_page(flower, f"createUser:{entry_id}")
    assert "joe@private" not in flower.get("/api/tasks").text


def test_revoking_a_retry_does_not_keep_it_from_running(flower: Flower, worker: Worker, connection: Connection):
    task_id = "createCloseOrder:order-3"
    payload = json.dumps(order("order-3", "user-3")).encode()
    [task] = add(connection, record(task_id=task_id, payload=payload, code="user_not_found", state="retrying"))
    connection.execute(text("INSERT INTO \"User\" (\"userID\", email) VALUES ('user-3', 'user-3')"))
    connection.commit()
    assert flower.post(f"/api/task/revoke/{task_id}").status == 200
    wait_until(lambda: task_id in worker.log, "the worker to hear of it")
    connection.execute(text("UPDATE dbstorage.failed_tasks SET retry_at = now()"))
    connection.commit()
    wait_until(lambda: state(connection, task) == "resolved", "the retry to run")


def test_terminating_a_retry_does_not_kill_the_process_it_runs_in(
    flower: Flower, worker: Worker, platform: Platform, connection: Connection
):
    task_id = "createCloseOrder:order-4"
    payload = json.dumps(order("order-4", "user-4")).encode()
    [task] = add(connection, record(task_id=task_id, payload=payload, code="user_not_found"))
    platform.query("INSERT INTO \"User\" (\"userID\", email) VALUES ('user-4', 'user-4')")
    processes = {child.pid for child in worker.pool_processes}
    # The retry waits for the order's user until it was terminated.
    connection.execute(text('SELECT FROM "User" WHERE "userID" = \'user-4\' FOR UPDATE'))
    platform.query("UPDATE dbstorage.failed_tasks SET state = 'retrying', retry_at = now()")
    waiting = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'dbstorage' AND wait_event_type = 'Lock'"
    )
    wait_until(lambda: platform.query(waiting), "the retry to run")
    assert flower.post(f"/api/task/revoke/{task_id}", {"terminate": "true"}).status == 200
    connection.rollback()
    wait_until(lambda: state(connection, task) == "resolved", "the retry to end")
    assert {child.pid for child in worker.pool_processes} == processes


def state(connection: Connection, task: int) -> str:
    found = connection.scalar(text("SELECT state FROM dbstorage.failed_tasks WHERE id = :id"), {"id": task})
    connection.rollback()
    return str(found)
