"""Redis gone, frozen, or emptied under the worker: it reconnects without end and recreates what is missing."""

import pytest

from dbstorage.redis_access.client import REDIS_TIMEOUT
from tests.chaos.conftest import Servers, full_only, scaled
from tests.chaos.traffic import Traffic
from tests.service.platform import GROUP, STREAM, Platform, order, question, user
from tests.service.worker import StartWorker
from tests.waiting import let_it_last, wait_until

SETTINGS = {"QUERY_TTL": "3600", "RESPONSE_MAXLEN": "100000", "USER_WAIT": "3600"}
#: Within this many seconds of its return the stream is read again.
READING_AGAIN = 10


def orders_flow(platform: Platform) -> None:
    """Wait until more orders are stored than now."""
    stored = len(platform.orders())
    wait_until(lambda: len(platform.orders()) > stored + 200, "orders to flow")


def wait_until_reading(platform: Platform, traffic: Traffic) -> None:
    """Wait until an order that is sent now is stored."""
    probe = traffic.send_one_more()
    wait_until(lambda: probe in platform.orders(), "the stream to be read again", READING_AGAIN)


def test_a_redis_that_is_restarted_under_load_loses_nothing(
    servers: Servers, platform: Platform, start_worker: StartWorker
) -> None:
    worker = start_worker(**SETTINGS)
    traffic = Traffic(platform, scaled(2_000, 20_000), per_second=scaled(1_000, 700)).start()
    for _ in range(scaled(1, 4)):
        orders_flow(platform)
        servers.redis.stop()
        let_it_last(1)
        servers.redis.start()
        wait_until_reading(platform, traffic)
    wait_until(traffic.sent.is_set, "the traffic to be sent")
    platform.wait_until_finished(120)
    traffic.check_everything_is_stored_once()
    assert worker.alive


def test_the_group_deleted_under_the_worker(platform: Platform, start_worker: StartWorker) -> None:
    start_worker(**SETTINGS)
    platform.send(user("u"), order("before", "u"))
    platform.wait_until_finished()
    platform.redis.xgroup_destroy(STREAM, GROUP)
    platform.send(order("after", "u"))
    wait_until(lambda: "after" in platform.orders(), "the stream to be read again", READING_AGAIN)
    platform.wait_until_finished()
    assert platform.failed("code") == []


def test_the_stream_deleted_under_the_worker(platform: Platform, start_worker: StartWorker) -> None:
    start_worker(**SETTINGS)
    platform.send(user("u"), order("before", "u"))
    platform.wait_until_finished()
    platform.redis.delete(STREAM)
    platform.send(order("after", "u"))
    wait_until(lambda: "after" in platform.orders(), "the stream to be read again", READING_AGAIN)


@pytest.mark.parametrize("ordering", ["strict", "parallel"])
def test_everything_is_wiped_while_postgresql_is_away(
    ordering: str, servers: Servers, platform: Platform, start_worker: StartWorker
) -> None:
    """Keys, leases and signs of life too: what comes afterwards is stored when PostgreSQL is back."""
    workers = [start_worker(name, ORDERING=ordering, **SETTINGS) for name in ("first", "second")]
    platform.send(user("u"))
    platform.wait_until_finished()
    servers.postgres.stop("immediate")
    platform.send(*(order(f"wiped-{number}", "u") for number in range(50)), question("u", "r-1"))
    assert platform.answer_to("r-1")["error"] == "unavailable"
    platform.redis.flushall()
    platform.send(*(order(f"o-{number}", "u") for number in range(50)), question("u", "r-2"))
    assert platform.answer_to("r-2")["error"] == "unavailable"
    servers.postgres.start()
    wait_until(lambda: {f"o-{number}" for number in range(50)} <= platform.orders().keys(), "the orders", READING_AGAIN)
    platform.wait_until_finished()
    platform.send(question("u", "r-3"))
    assert "error" not in platform.answer_to("r-3")
    assert all(worker.alive for worker in workers)


def test_another_type_under_the_streams_name_is_waited_out(platform: Platform, start_worker: StartWorker) -> None:
    worker = start_worker(**SETTINGS)
    # At once: a worker that reads while there is no stream at all would tell of that, and only of that.
    platform.redis.set(STREAM, "not a stream")
    wait_until(lambda: "WRONGTYPE" in worker.log, "the log to say what is wrong")
    platform.redis.delete(STREAM)
    platform.send(user("u"), order("o", "u"))
    wait_until(lambda: "o" in platform.orders(), "the stream to be read again", READING_AGAIN)
    assert worker.log.count("Reading is interrupted") == 1


def test_connections_to_redis_that_are_killed_again_and_again_lose_nothing(
    platform: Platform, start_worker: StartWorker
) -> None:
    worker = start_worker(**SETTINGS)
    traffic = Traffic(platform, scaled(2_000, 20_000), per_second=1_000).start()
    killed = 0
    while not traffic.sent.wait(0.7):
        killed += platform.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        killed += platform.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    assert killed
    platform.wait_until_finished(120)
    traffic.check_everything_is_stored_once()
    assert worker.alive


def test_a_frozen_redis_holds_nothing_up_for_longer_than_it_lasts(
    servers: Servers, platform: Platform, start_worker: StartWorker
) -> None:
    """Slow (9 s): Redis stays frozen for four seconds, longer than any socket waits."""
    worker = start_worker(**SETTINGS)
    traffic = Traffic(platform, scaled(3_000, 10_000), per_second=1_000).start()
    orders_flow(platform)
    with servers.frozen(servers.redis):
        let_it_last(scaled(4, 10))
    wait_until(traffic.sent.is_set, "the traffic to be sent")
    wait_until_reading(platform, traffic)
    platform.wait_until_finished(120)
    traffic.check_everything_is_stored_once()
    assert worker.alive


def test_a_redis_that_became_a_replica_is_waited_out(platform: Platform, start_worker: StartWorker) -> None:
    """Slow (8 s): it stays one for three seconds, in which nothing may be told twice."""
    worker = start_worker(**SETTINGS)
    platform.send(user("u"), order("before", "u"))
    platform.wait_until_finished()
    platform.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        wait_until(lambda: "read only replica" in worker.log, "the worker to notice")
        let_it_last(3)
    finally:
        platform.redis.execute_command("REPLICAOF", "NO", "ONE")
    platform.send(order("after", "u"))
    wait_until(lambda: "after" in platform.orders(), "the stream to be read again", READING_AGAIN)
    assert worker.alive
    assert worker.log.count("is away") <= 1


def test_a_read_that_is_not_allowed_is_told_once_and_waited_out(platform: Platform, start_worker: StartWorker) -> None:
    worker = start_worker(**SETTINGS)
    platform.send(user("u"))
    platform.wait_until_finished()
    platform.redis.execute_command("ACL", "SETUSER", "default", "-xreadgroup")
    try:
        platform.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        wait_until(lambda: "Reading is interrupted" in worker.log, "the worker to notice")
        platform.send(order("o", "u"))
        let_it_last(3)
    finally:
        platform.redis.execute_command("ACL", "SETUSER", "default", "+xreadgroup")
    wait_until(lambda: "o" in platform.orders(), "the stream to be read again", READING_AGAIN)
    assert worker.log.count("Reading is interrupted") == 1


def test_an_answer_held_up_by_a_frozen_redis_is_not_given_late(
    servers: Servers, platform: Platform, start_worker: StartWorker
) -> None:
    start_worker(QUERY_TTL="2")
    blocker = platform.hold_orders()
    platform.send(user("u"), order("o", "u"), question("u", "held-up"))
    wait_until(lambda: platform.pending() == 3, "the question to be in hand")
    with servers.frozen(servers.redis):
        blocker.close()
        let_it_last(4)
    platform.wait_until_finished()
    assert platform.answers() == []


def test_an_answer_on_its_way_to_a_silent_redis_goes_out_once(
    servers: Servers, platform: Platform, start_worker: StartWorker
) -> None:
    """Redis takes the answer when it wakes, and nobody hears of it: the question is run again."""
    start_worker("worker", "-c", "1", **SETTINGS)
    platform.send(user("u"), question("u", "first"))
    # So that the pool process is connected.
    platform.wait_until_finished()
    blocker = platform.hold_orders()
    platform.send(order("o", "u"), question("u"), question("u", "third"))
    wait_until(lambda: platform.pending() == 3, "the questions to be in hand")
    with servers.frozen(servers.redis):
        blocker.close()
        # Longer than the pool process waits for a reply.
        let_it_last(REDIS_TIMEOUT + 1)
    platform.wait_until_finished()
    platform.send(question("u", "last"))
    platform.answer_to("last")
    assert [answer.get("requestId") for answer in platform.answers()] == ["first", None, "third", "last"]


@pytest.mark.parametrize(
    "options",
    [
        (),
        pytest.param(("-P", "threads"), marks=full_only),
        pytest.param(("-P", "solo"), marks=full_only),
    ],
    ids=" ".join,
)
def test_sigterm_ends_the_worker_while_redis_is_frozen(
    options: tuple[str, ...], servers: Servers, platform: Platform, start_worker: StartWorker
) -> None:
    worker = start_worker("worker", *options, **SETTINGS)
    platform.send(user("u"), order("o", "u"))
    platform.wait_until_finished()
    with servers.frozen(servers.redis):
        let_it_last(2)
        assert worker.stop(seconds=10) == 0


def test_sigterm_while_redis_is_frozen_lets_the_batch_in_hand_be_stored(
    servers: Servers, platform: Platform, start_worker: StartWorker
) -> None:
    """Slow (14 s): the pool process meets the frozen Redis as well, and the worker starts again."""
    worker = start_worker(**SETTINGS)
    platform.send(user("u"))
    platform.wait_until_finished()
    blocker = platform.hold_orders()
    platform.send(order("o", "u"))
    wait_until(lambda: platform.pending() == 1, "the order to be in hand")
    with servers.frozen(servers.redis):
        let_it_last(1)
        worker.terminate()
        let_it_last(2)
        blocker.close()
        assert worker.wait(seconds=8) == 0
        assert "o" in platform.orders()
    worker.start()
    platform.wait_until_finished()
    assert platform.failed("code") == []


@full_only
def test_sigterm_ends_both_workers_while_redis_is_frozen_for_long(
    servers: Servers, platform: Platform, start_worker: StartWorker
) -> None:
    workers = [start_worker(name, **SETTINGS, TASK_EVENTS="all") for name in ("first", "second")]
    traffic = Traffic(platform, 2_000).start()
    wait_until(traffic.sent.is_set, "the traffic to be sent")
    with servers.frozen(servers.redis):
        let_it_last(15)
        for worker in workers:
            worker.terminate()
        for worker in workers:
            assert worker.wait(seconds=10) == 0


def test_retries_survive_a_wiped_broker(platform: Platform, start_worker: StartWorker) -> None:
    start_worker(**SETTINGS)
    ids = platform.send(*(order(f"early-{number}", "late") for number in range(20)))
    platform.wait_until_finished()
    platform.send(user("late"))
    for _ in range(20):
        for key in platform.redis.scan_iter("dbstorage:*"):
            platform.redis.delete(key)
    for entry_id in ids:
        platform.wait_for_state(entry_id, "resolved")
    assert len(platform.orders()) == 20
