"""Operators' calls that a worker has in hand when the broker goes away: the worker survives, and each call ends."""

from collections.abc import Iterator

import psutil
import pytest
from celery import Celery

from dbstorage.application import create_app
from dbstorage.settings import load_settings
from tests.chaos.conftest import Servers, scaled
from tests.service.platform import GROUP, STREAM, Platform, order, user
from tests.service.worker import StartWorker
from tests.waiting import let_it_last, wait_until

PREFIX = f"dbstorage:{STREAM}:{GROUP}:"
#: Within this many seconds of Redis' return whatever is due is taken up (docs/delivery.md, Liveness).
TAKEN_UP = 10


@pytest.fixture
def app(platform: Platform) -> Iterator[Celery]:
    app = create_app(load_settings(platform.environment))
    yield app
    app.close()


def call_order(app: Celery, order_id: str) -> None:
    app.send_task("createCloseOrder", args=[order(order_id, "u")["message"]], task_id=f"call:{order_id}")


def wait_until_a_call_runs(platform: Platform) -> None:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    wait_until(lambda: platform.query(waiting), "a call to wait for the table")


def nothing_is_left(platform: Platform) -> bool:
    """Whether no call waits in the broker, or is in hand."""
    return not platform.redis.exists(f"{PREFIX}tasks", f"{PREFIX}unacked")


#: What a person may write into a queue by hand; the last one has an envelope of Celery's and no body that can be read.
MALFORMED = (
    b"no JSON",
    b"\xff\x00",
    b"5",
    b"null",
    b"{}",
    b"[" * 100_000,
    b'{"properties": 5}',
    b'{"properties": {}}',
    b'{"body": "abc", "properties": {"body_encoding": "base64", "delivery_tag": "t"}}',
)


@pytest.mark.parametrize("way", ["queue of tasks", "channel of remote control"])
def test_messages_that_are_none_of_celerys_end_no_worker(
    way: str, platform: Platform, start_worker: StartWorker, app: Celery
) -> None:
    worker = start_worker()
    platform.send(user("u"))
    dropped = f"A message in the broker's {way} is none of Celery's and was dropped"
    for number, message in enumerate(MALFORMED):
        if way == "queue of tasks":
            platform.redis.lpush(f"{PREFIX}tasks", message)
        else:
            channel = f"{PREFIX}/0.celery.pidbox"
            wait_until(lambda: platform.redis.publish(channel, message), "the worker to listen")  # noqa: B023
        call_order(app, f"behind-{number}")
        wait_until(lambda: f"behind-{number}" in platform.orders(), "the call behind it to be run")  # noqa: B023
    if way == "queue of tasks":
        assert worker.log.count(dropped) == len(MALFORMED)
    assert worker.alive
    assert app.control.ping(timeout=2)


#: Headers and body of messages, and what is said of each.
UNUSABLE = [
    ({"task": "createUser", "id": "1"}, rb'[[], {"userEmail": "ann\ud800@secret.example"}, {}]', "no JSON in UTF-8"),
    ({"task": "createUser", "id": "2"}, b'[["ann\xed\xa0\x80@secret.example"], {}, {}]', "no JSON in UTF-8"),
    ({"task": "renameUser", "id": "3"}, b'[["ann@secret.example"], {}, {}]', "there is no such task"),
    ({}, b'{"userEmail": "ann@secret.example"}', "it names no task"),
]


def test_messages_that_cannot_be_run_are_refused_with_a_sentence_and_without_their_body(
    platform: Platform, start_worker: StartWorker, app: Celery
) -> None:
    worker = start_worker()
    with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
        for headers, body, _ in UNUSABLE:
            producer.publish(
                body, content_type="application/json", content_encoding="utf-8", headers=headers,
                exchange=app.conf.task_default_exchange, routing_key=app.conf.task_default_routing_key,
            )  # fmt: skip
    for headers, _, sentence in UNUSABLE:
        named = f"Task {headers.get('task', 'unknown')}, task id {headers.get('id', 'unknown')}."
        wait_until(
            lambda: any(sentence in line and named in line for line in worker.log.splitlines()),  # noqa: B023
            f"the log line on {named}",
        )
    assert "secret.example" not in worker.log
    assert "CRITICAL" not in worker.log
    app.send_task("createUser", kwargs={"userId": "ann", "userEmail": "ann@secret.example"})
    wait_until(lambda: "ann" in platform.users(), "the next call to be run")


def test_calls_in_hand_survive_restarts_of_redis(
    servers: Servers, platform: Platform, start_worker: StartWorker, app: Celery
) -> None:
    """More of them than processes: some run, some wait in the worker, some in the broker."""
    worker = start_worker()
    platform.send(user("u"))
    platform.wait_until_finished()
    for number in range(scaled(2, 6)):
        blocker = platform.hold_orders()
        names = {f"o-{number}-{call}" for call in range(6)}
        for name in names:
            call_order(app, name)
        wait_until_a_call_runs(platform)
        servers.redis.stop()
        let_it_last(0.5)
        servers.redis.start()
        blocker.close()
        wait_until(lambda: names <= platform.orders().keys(), "all to be stored", 2 * TAKEN_UP)  # noqa: B023
        wait_until(lambda: nothing_is_left(platform), "all to be acknowledged", TAKEN_UP)
        assert worker.alive
    assert "Traceback" not in worker.log
    assert platform.failed("code") == []


def test_a_call_that_ends_while_redis_is_away_is_not_run_again(
    servers: Servers, platform: Platform, start_worker: StartWorker, app: Celery
) -> None:
    worker = start_worker()
    platform.send(user("u"))
    platform.wait_until_finished()
    blocker = platform.hold_orders()
    call_order(app, "o")
    wait_until_a_call_runs(platform)
    servers.redis.stop()
    blocker.close()
    wait_until(lambda: "o" in platform.orders(), "the order to be stored")
    servers.redis.start()
    wait_until(lambda: nothing_is_left(platform), "the call to be acknowledged", TAKEN_UP)
    assert "Traceback" not in worker.log
    assert worker.log.count("Restoring 1 unacknowledged message(s)") <= 1


def test_descriptors_do_not_grow_with_restarts_of_redis(
    servers: Servers, platform: Platform, start_worker: StartWorker
) -> None:
    worker = start_worker()
    assert worker.process is not None
    process = psutil.Process(worker.process.pid)
    platform.send(user("u"))
    platform.wait_until_finished()
    before = process.num_fds()
    for number in range(scaled(6, 24)):
        servers.redis.stop()
        servers.redis.start()
        platform.send(order(f"o-{number}", "u"))
        platform.wait_until_finished()
    # A connection or two may be in the making.
    assert process.num_fds() <= before + 3
