"""Several workers on one stream: strict order with standbys, or all of them reading in parallel."""

import threading
import time

import pytest

from dbstorage.batch.job import OLDER_PENDING_SECONDS
from dbstorage.wire.entry_id import milliseconds_of
from tests.chaos.conftest import full_only, scaled
from tests.chaos.liveness import reader_of
from tests.chaos.traffic import Traffic
from tests.service.platform import GROUP, RESPONSES, STREAM, Platform, order, question, user
from tests.service.worker import StartWorker
from tests.waiting import wait_until

SETTINGS = {"QUERY_TTL": "3600", "RESPONSE_MAXLEN": "100000", "USER_WAIT": "60"}
NAMES = ("one", "two", "three")
LEASE = f"dbstorage:{STREAM}:{GROUP}:lease"


def seconds_until_stored(platform: Platform, order_id: str) -> float:
    """Send an order and wait until it is stored."""
    began = time.monotonic()
    platform.send(order(order_id, "u"))
    wait_until(lambda: order_id in platform.orders(), "the order to be stored")
    return time.monotonic() - began


def test_in_strict_order_one_reads_and_the_others_take_over(platform: Platform, start_worker: StartWorker) -> None:
    workers = [start_worker(name, **SETTINGS) for name in NAMES]
    platform.send(user("u"))
    first = wait_until(lambda: reader_of(platform, workers), "a reader")
    assert first is not None
    others = [worker for worker in workers if worker is not first]
    wait_until(lambda: [w for w in workers if "Standing by" in w.log] == others, "the others to stand by")
    assert seconds_until_stored(platform, "o-1") < 10

    blocker = platform.hold_orders()
    platform.send(*(order(f"in-hand-{number}", "u") for number in range(50)))
    wait_until(lambda: platform.pending() > 0, "entries in hand")
    first.kill()
    blocker.close()
    taken_over = seconds_until_stored(platform, "o-2")
    assert taken_over < 10, "the lease is up in 6 seconds"
    second = reader_of(platform, workers)
    assert second is not None
    assert second is not first
    # The dead one's entries came first.
    ids = dict(platform.query('SELECT "orderId", id FROM "Orders"'))
    assert max(ids[f"in-hand-{number}"] for number in range(50)) < ids["o-2"]

    second.terminate()
    handed_over = seconds_until_stored(platform, "o-3")
    wait_until(lambda: reader_of(platform, workers) not in (None, first, second), "the third to read")
    assert handed_over < 10
    platform.wait_until_finished()
    assert platform.failed("code") == []


def test_a_worker_of_the_same_name_is_refused(platform: Platform, start_worker: StartWorker) -> None:
    """Slow (14 s): the second waits until a dead one's sign of life would have expired, and then ends."""
    start_worker("twin", **SETTINGS)
    wait_until(lambda: platform.redis.get(LEASE), "the first to read")
    second = start_worker("twin", ready=False, **SETTINGS)
    wait_until(lambda: not second.alive, "the second to give up")
    assert second.process is not None
    assert second.process.returncode == 1
    assert "Another worker named twin@test is running" in second.log


def test_a_restarted_worker_does_not_wait_for_its_own_lease(platform: Platform, start_worker: StartWorker) -> None:
    worker = start_worker(**SETTINGS)
    platform.send(user("u"))
    seconds_until_stored(platform, "o-1")
    worker.kill()
    worker.start()
    assert seconds_until_stored(platform, "o-2") < 10
    assert "Standing by" not in worker.log


def test_in_parallel_order_killed_workers_lose_and_double_nothing(
    platform: Platform, start_worker: StartWorker
) -> None:
    """Slow (10 s): entries of a killed worker have to be idle before another claims them."""
    settings = {**SETTINGS, "ORDERING": "parallel", "CLAIM_IDLE": "2"}
    workers = [start_worker(name, **settings) for name in NAMES]
    traffic = Traffic(platform, scaled(3_000, 20_000), per_second=scaled(1_000, 600)).start()
    pause = threading.Event()
    for number in range(scaled(3, 20)):
        pause.wait(0.8)
        worker = workers[number % 3]
        if number % 2:
            worker.kill_pool_process()
        else:
            worker.kill()
            worker.start(ready=False)
    workers[0].kill()
    for worker in workers[1:]:
        # Celery gives up where a pool process dies while it starts; whoever runs it starts it again.
        if not worker.alive:
            worker.start()
    wait_until(traffic.sent.is_set, "the traffic to be sent")
    platform.wait_until_finished(120)
    wait_until(lambda: not [row for row in platform.failed("state") if row[0] == "retrying"], "retries to end")
    assert {state for (state,) in platform.failed("state")} <= {"resolved"}
    platform.query("TRUNCATE dbstorage.failed_tasks CASCADE")
    traffic.check_everything_is_stored_once()
    assert traffic.unanswered() == []


def test_in_parallel_order_a_question_sees_the_writes_before_it(platform: Platform, start_worker: StartWorker) -> None:
    settings = {**SETTINGS, "ORDERING": "parallel", "BATCH_SIZE": "5"}
    for name in NAMES:
        start_worker(name, **settings)
    platform.send(user("u"))
    platform.wait_until_finished()
    for number in range(scaled(40, 200)):
        platform.send(order(f"o-{number}", "u"), question("u", f"q-{number}", limit=1000))
    platform.wait_until_finished()
    entry_ids = [entry_id.decode() for entry_id, _fields in platform.redis.xrange(RESPONSES)]
    for entry_id, answer in zip(entry_ids, platform.answers(), strict=True):
        waited = milliseconds_of(entry_id) - milliseconds_of(answer["inReplyTo"])
        sees = f"o-{answer['requestId'].removeprefix('q-')}" in {item["orderId"] for item in answer["orders"]}
        assert "error" not in answer
        # On a loaded machine, the write before it may take longer than a question waits for it.
        assert sees or waited >= 1000 * OLDER_PENDING_SECONDS


def test_an_older_create_user_never_overwrites_a_newer_one(platform: Platform, start_worker: StartWorker) -> None:
    # The older one stays in the hands of a consumer that is gone, and is claimed after the newer one was applied.
    platform.redis.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    platform.send(user("person", "older@x"))
    platform.redis.xreadgroup(GROUP, "gone@test", {STREAM: ">"}, count=1)
    platform.send(user("person", "newer@x"))
    start_worker(**SETTINGS, ORDERING="parallel", CLAIM_IDLE="1")
    platform.wait_until_finished()
    assert platform.users() == {"person": "newer@x"}
    assert platform.failed("code") == []


@full_only
@pytest.mark.parametrize(
    "orderings", [("strict", "parallel"), pytest.param(("parallel", "strict"), marks=full_only)], ids=" then ".join
)
def test_workers_with_different_orderings_are_told_of(
    orderings: tuple[str, str], platform: Platform, start_worker: StartWorker
) -> None:
    workers = {ordering: start_worker(ordering, **SETTINGS, ORDERING=ordering) for ordering in orderings}
    wait_until(lambda: "with ORDERING=strict" in workers["parallel"].log, "the parallel worker to tell of the other")


def test_consumers_of_workers_that_are_gone_are_removed(platform: Platform, start_worker: StartWorker) -> None:
    """Slow (17 s): the group is cleaned every fifteen seconds."""
    platform.redis.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    platform.redis.xgroup_createconsumer(STREAM, GROUP, "gone@test")
    start_worker(**SETTINGS)
    wait_until(
        lambda: [consumer["name"] for consumer in platform.redis.xinfo_consumers(STREAM, GROUP)] == [b"worker@test"],
        "the consumer to be removed",
        90,
    )


def test_a_revoked_entry_is_stored_all_the_same(platform: Platform, start_worker: StartWorker) -> None:
    from dbstorage.application import create_app
    from dbstorage.settings import load_settings

    worker = start_worker(**SETTINGS)
    app = create_app(load_settings(platform.environment))
    blocker = platform.hold_orders()
    platform.send(user("u"), order("o", "u"))
    wait_until(lambda: platform.pending() == 2, "the order to be in hand")
    app.control.revoke("createCloseOrder:o", terminate=True, reply=True)
    blocker.close()
    platform.wait_until_finished()
    assert set(platform.orders()) == {"o"}
    assert "Not terminated: createCloseOrder:o" in worker.log
