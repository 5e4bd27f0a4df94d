"""The three tasks one at a time through the broker, as operators call them and Flower shows them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from celery.result import AsyncResult

from dbstorage.application import create_app
from dbstorage.settings import load_settings
from tasks.running import TaskFailed
from tests.service.platform import Platform, order, user
from tests.waiting import wait_until

Call = Callable[..., str]


@pytest.fixture(scope="module")
def app(service: Platform) -> Celery:
    return create_app(load_settings(service.environment))


def celery_call(service: Platform, task: str, *options: str) -> str:
    """`celery -A dbstorage call …` as it is typed; the task's id."""
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "dbstorage", "call", task, *options],
        env={**os.environ, **service.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip().splitlines()[-1]


def test_an_order_can_be_stored_by_a_call(service: Platform) -> None:
    service.send(user("caller"))
    celery_call(service, "createCloseOrder", "--args", json.dumps([order("called", "caller")["message"]]))
    wait_until(lambda: "called" in service.orders(), "the order to be stored")


def test_an_order_can_be_called_with_its_fields_by_name(service: Platform) -> None:
    service.send(user("caller"))
    celery_call(service, "createCloseOrder", "--kwargs", json.dumps(order("called-by-name", "caller")["message"]))
    wait_until(lambda: "called-by-name" in service.orders(), "the order to be stored")


def test_a_user_can_be_created_by_a_call(service: Platform, app: Celery) -> None:
    app.send_task("createUser", kwargs={"userId": "by-call", "userEmail": "by-call@x"})
    wait_until(lambda: service.users().get("by-call") == "by-call@x", "the user to be stored")


def test_a_question_by_call_is_answered_by_its_request_id(service: Platform, app: Celery) -> None:
    app.send_task("getCloseOrders", kwargs={"userId": "unknown", "requestId": "asked-by-call"})
    answer = service.answer_to("asked-by-call")
    assert answer["orders"] == []
    assert "inReplyTo" not in answer


def test_a_refused_call_is_kept_under_its_task_id(service: Platform, app: Celery) -> None:
    bad = {**order("by-call-bad", "caller")["message"], "symbol": "doge"}
    sent: AsyncResult[Any] = app.send_task("createCloseOrder", args=[bad])
    row = wait_until(lambda: service.failed_with_order("by-call-bad"), "the failed task")
    assert row == [(sent.id, "invalid_symbol", "failed")]


def test_two_refused_calls_are_kept_both(service: Platform, app: Celery) -> None:
    first = app.send_task("createUser", kwargs={"userId": "", "userEmail": "one@x"}).id
    second = app.send_task("createUser", kwargs={"userId": "", "userEmail": "two@x"}).id

    def payloads() -> dict[str, bytes]:
        return {task_id: bytes(payload) for task_id, payload in service.failed("task_id", "payload")}

    wait_until(lambda: {first, second} <= payloads().keys(), "both failed tasks")
    assert b"one@x" in payloads()[first]
    assert b"two@x" in payloads()[second]


def test_a_called_order_waits_for_its_user_too(service: Platform, app: Celery) -> None:
    app.send_task("createCloseOrder", args=[order("by-call-early", "by-call-late")["message"]])
    wait_until(lambda: service.failed_with_order("by-call-early"), "the order to wait")
    service.send(user("by-call-late"))
    wait_until(lambda: service.orders().get("by-call-early") == "by-call-late", "the order to be stored")


def test_every_outcome_is_a_task_event_with_its_own_id(service: Platform, app: Celery) -> None:
    events: list[dict[str, Any]] = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": events.append})
        consuming = receiver.itercapture(limit=None, timeout=30, wakeup=True)
        # Nothing is received before the first event is asked for.
        next(consuming)
        service.send(
            user("eventful"), order("event-1", "eventful"), order("event-2", "eventful", symbol="doge"),
            order("event-3", "eventful-later"),
        )  # fmt: skip

        def of(task_id: str) -> list[str]:
            return [event["type"] for event in events if event.get("uuid") == task_id]

        for _ in consuming:
            if "task-retried" in of("createCloseOrder:event-3"):
                break
        service.send(user("eventful-later"))
        for _ in consuming:
            if "task-succeeded" in of("createCloseOrder:event-3"):
                break
    assert of("createCloseOrder:event-1") == ["task-succeeded"]
    assert of("createCloseOrder:event-2") == ["task-failed"]
    assert of("createCloseOrder:event-3")[0] == "task-retried"
    [stored] = [event for event in events if event.get("uuid") == "createCloseOrder:event-1"]
    assert stored["name"] == "createCloseOrder"
    assert stored["result"] == "'stored'"
    assert stored["runtime"] > 0
    assert "orderId event-1" in stored["args"]
    assert not [event for event in events if "@example.com" in json.dumps(event)]


def test_entries_in_hand_are_listed_as_active_tasks(service: Platform, app: Celery) -> None:
    blocker = service.hold_orders()
    try:
        service.send(user("active"), order("active-order", "active"))
        active = wait_until(
            lambda: [
                task["id"]
                for tasks in (app.control.inspect(timeout=2, limit=1).active() or {}).values()
                for task in tasks
            ],
            "active tasks",
        )
        assert "createCloseOrder:active-order" in active
    finally:
        blocker.close()
    wait_until(lambda: "active-order" in service.orders(), "the order to be stored")


def test_a_call_that_makes_no_sense_fails_with_a_sentence(service: Platform, app: Celery) -> None:
    failures: list[dict[str, Any]] = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"task-failed": failures.append})
        consuming = receiver.itercapture(limit=None, timeout=30, wakeup=True)
        next(consuming)
        sent: AsyncResult[Any] = app.send_task("getCloseOrders", kwargs={"userId": "someone"})
        for _ in consuming:
            if any(event["uuid"] == sent.id for event in failures):
                break
    [failure] = [event for event in failures if event["uuid"] == sent.id]
    assert "missing_request_id: A question that does not come from the stream needs a requestId" in failure["exception"]


def test_no_event_of_a_call_holds_an_address(service: Platform, app: Celery) -> None:
    events: list[dict[str, Any]] = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": events.append})
        consuming = receiver.itercapture(limit=None, timeout=30, wakeup=True)
        next(consuming)
        celery_call(
            service, "createUser", "--kwargs", json.dumps({"userId": "told", "userEmail": "told@private.example"})
        )
        celery_call(service, "createUser", "--args", json.dumps([{"userId": "x", "userEmail": "x@private.example"}]))
        for _ in consuming:
            if [event["type"] for event in events].count("task-succeeded") == 2:
                break
    received = [event for event in events if event["type"] == "task-received"]
    assert ["'userEmail': '***@***'" in event["args"] + event["kwargs"] for event in received] == [True, True]
    assert "private.example" not in json.dumps(events)


WRONG_CALLS = [
    {"args": [{"userId": "u"}, 2]},
    {"args": [{"userId": "u"}], "kwargs": {"message": {"userId": "v"}}},
    {"kwargs": {"self": 1, "message": "no order"}},
]


@pytest.mark.parametrize("call", WRONG_CALLS)
def test_a_call_with_arguments_that_no_command_has_fails_with_a_sentence(app: Celery, call: dict[str, Any]) -> None:
    app.loader.import_default_modules()
    task = app.tasks["createCloseOrder"]
    with pytest.raises(Exception, match=r"^invalid_") as raised:
        task(*call.get("args", []), **call.get("kwargs", {}))
    assert isinstance(raised.value, TaskFailed)
