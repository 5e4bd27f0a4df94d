"""What dbstorage/worker/celery_internals/ leans on in Celery; tried with the versions named here."""

from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from celery import Celery
from celery.concurrency.prefork import TaskPool
from celery.events.state import State
from celery.worker import state
from celery.worker.control import Panel
from kombu.asynchronous import Hub, set_event_loop
from kombu.serialization import dumps, loads

from dbstorage.application import create_app
from dbstorage.reader.messages import Entry
from dbstorage.reader.stream_request import StreamRequest
from dbstorage.settings import load_settings
from dbstorage.worker.celery_internals.consumer import PatientConsumer
from dbstorage.worker.celery_internals.inspection import LOOKING_COMMANDS, count_tasks, list_on_demand
from dbstorage.worker.celery_internals.pool import submit, write_at_once
from dbstorage.worker.celery_internals.publishing import EVENT_BUFFER, EVENT_SERIALIZER, BatchingDispatcher
from tests.waiting import wait_until

TESTED = {"celery": "5.7", "kombu": "5.7", "billiard": "4.3"}


@pytest.mark.parametrize("package", TESTED)
def test_the_installed_version_is_one_that_was_tried(package: str) -> None:
    assert version(package).startswith(TESTED[package]), "try the rest of this file, then add the version here"


def request(number: int) -> StreamRequest:
    order = f'{{"function":"createCloseOrder","message":{{"orderId":"{number}"}}}}'.encode()
    return StreamRequest(Entry(f"{number}-0", [b"message", order], 0), "worker@test", 1.0)


def test_entries_in_hand_are_listed_while_a_remote_command_looks_for_requests() -> None:
    in_hand = [request(number) for number in range(3)]
    commands = dict(Panel.data)
    try:
        list_on_demand(lambda: in_hand)
        found = {listed["id"] for listed in Panel.data["active"](SimpleNamespace(tset=set))}
        queried = Panel.data["query_task"](None, ["createCloseOrder:1", "createCloseOrder:17"])
    finally:
        Panel.data.update(commands)
    assert found == {"createCloseOrder:0", "createCloseOrder:1", "createCloseOrder:2"}
    [(task_id, (activity, _))] = queried.items()
    assert (task_id, activity) == ("createCloseOrder:1", "active")
    assert not state.active_requests
    assert "createCloseOrder:1" not in state.requests


@pytest.mark.parametrize("command", LOOKING_COMMANDS)
def test_the_commands_that_look_for_requests_are_there(command: str) -> None:
    assert command in Panel.data


def test_tasks_are_counted_by_their_names() -> None:
    before, all_before = state.total_count["createCloseOrder"], state.all_total_count[0]
    count_tasks(["createCloseOrder", "createUser", "createCloseOrder"])
    assert state.total_count["createCloseOrder"] == before + 2
    assert state.all_total_count[0] == all_before + 3


def test_celery_may_set_on_a_request_what_it_sets_when_its_broker_is_back() -> None:
    listed = request(1)
    listed.eventer = object()
    assert listed.info()["id"] == "createCloseOrder:1"
    assert listed.revoked() is False


@pytest.fixture(scope="module")
def app() -> Celery:
    return create_app(
        load_settings({"REDIS_URL": "redis://localhost", "DATABASE_URL": "postgresql://user@localhost/database"})
    )


def test_the_app_uses_our_dispatcher_and_consumer(app: Celery) -> None:
    assert issubclass(app.events.Dispatcher, BatchingDispatcher)
    assert app.conf.worker_consumer == f"{PatientConsumer.__module__}:{PatientConsumer.__name__}"


class Outbox:
    """Takes what the dispatcher publishes, as a kombu producer does."""

    def __init__(self) -> None:
        self.published: list[tuple[Any, dict[str, Any]]] = []

    def publish(self, body: Any, **options: Any) -> None:
        self.published.append((body, options))


def test_a_batch_of_events_leaves_in_one_message_and_makes_complete_tasks(app: Celery) -> None:
    with app.connection_for_write() as connection:
        dispatcher = app.events.Dispatcher(connection, hostname="worker@test", buffer_group=["task"], enabled=False)
        dispatcher.enabled = True
        outbox = dispatcher.producer = Outbox()
        events = [
            {"uuid": f"id-{number}", "name": "createCloseOrder", "args": "()", "result": "'stored'", "runtime": 0.1}
            for number in range(EVENT_BUFFER + 1)
        ]
        dispatcher.send_all("task-succeeded", events)
    [(sent, options)] = outbox.published
    assert options["retry"] is False
    assert len(sent) == EVENT_BUFFER + 1
    seen = State()
    for event in sent:
        seen.event({**event, "local_received": event["timestamp"]})
    task = seen.tasks["id-7"]
    assert (task.state, task.name, task.result, task.worker.hostname) == (
        "SUCCESS", "createCloseOrder", "'stored'", "worker@test",
    )  # fmt: skip


def test_events_are_json_for_everybody(app: Celery) -> None:
    content_type, encoding, body = dumps([{"type": "task-succeeded"}], serializer=EVENT_SERIALIZER)  # type: ignore[no-untyped-call]
    assert content_type == "application/json"
    assert orjson.loads(body) == loads(body, content_type, encoding) == [{"type": "task-succeeded"}]  # type: ignore[no-untyped-call]


def test_a_job_is_written_to_an_idle_pool_process_at_once() -> None:
    hub: Any = Hub()  # type: ignore[no-untyped-call]
    set_event_loop(hub)
    pool = TaskPool(1, threads=False, initargs=(Celery(set_as_current=False), "worker@test"))
    pool.start()
    results: list[Any] = []
    try:
        pool.register_with_event_loop(hub)
        hub.call_repeatedly(0.05, lambda: None)
        wait_until(lambda: hub.run_once() or pool._pool._all_inqueues, "the process says that it is up")
        jobs = pool._pool.outbound_buffer
        submit(pool, len, ("word",), on_accepted=lambda _: None, on_result=results.append, on_lost=pytest.fail)
        assert len(jobs) == 1
        write_at_once(pool, hub)
        assert not jobs
        wait_until(lambda: hub.run_once() or results, "the job has run")
    finally:
        pool.terminate()
        hub.close()
        set_event_loop(None)
    assert results == [4]


def test_other_pools_have_nothing_to_write_to() -> None:
    write_at_once(SimpleNamespace(), Hub())  # type: ignore[no-untyped-call]
