"""SIGTERM: the batch in hand is finished and acknowledged, what was only read ahead is another worker's at once."""

import json
import time
from typing import Any

import pytest

from tests.chaos.conftest import full_only, scaled
from tests.chaos.traffic import Traffic
from tests.service.platform import GROUP, STREAM, Platform, order, user
from tests.service.worker import StartWorker
from tests.waiting import wait_until

SETTINGS = {"QUERY_TTL": "3600", "RESPONSE_MAXLEN": "100000", "USER_WAIT": "60"}


@pytest.mark.parametrize(
    "pool", ["prefork", pytest.param("threads", marks=full_only), pytest.param("solo", marks=full_only)]
)
def test_sigterm_under_load_ends_within_ten_seconds(pool: str, platform: Platform, start_worker: StartWorker) -> None:
    """Slow (8 s): the worker is started twice and has to finish what it has in hand."""
    worker = start_worker("worker", "-P", pool, **SETTINGS)
    traffic = Traffic(platform, scaled(3_000, 10_000), per_second=3_000).start()
    wait_until(lambda: len(platform.orders()) > 300, "orders to flow")
    assert worker.stop(seconds=10) == 0
    # Whatever is pending was given back untouched: nobody waits for it to be idle.
    left = pending(platform)
    assert all(item["times_delivered"] == 0 for item in left)
    # And what was stored is not pending any more: the batch in hand was not cut short of its acknowledgement.
    assert platform.orders().keys() & orders_sent_first_in(platform, {item["message_id"] for item in left}) == set()
    worker.start()
    wait_until(traffic.sent.is_set, "the traffic to be sent")
    platform.wait_until_finished()
    traffic.check_everything_is_stored_once()


def test_sigterm_ends_a_worker_whose_pool_process_does_not_stir(platform: Platform, start_worker: StartWorker) -> None:
    """Slow (15 s): the process is given 7.5 s, and the worker starts again."""
    worker = start_worker(**SETTINGS)
    platform.send(user("u"), order("before", "u"))
    platform.wait_until_finished()
    for process in worker.pool_processes:
        process.suspend()
    platform.send(order("o", "u"))
    wait_until(lambda: platform.pending() == 1, "the order to be in hand")
    assert worker.stop(seconds=10) == 0
    assert "was killed" in worker.log
    worker.start()
    platform.wait_until_finished()
    assert platform.orders() == {"before": "u", "o": "u"}


def pending(platform: Platform) -> list[dict[str, Any]]:
    """The group's pending entries."""
    return list(platform.redis.xpending_range(STREAM, GROUP, "-", "+", 10_000))


def orders_sent_first_in(platform: Platform, entry_ids: set[bytes]) -> set[str]:
    """The orders that no entry of the stream has but these, and later ones."""
    first: dict[str, bytes] = {}
    for entry_id, fields in platform.redis.xrange(STREAM):
        order_id = json.loads(fields[b"message"]).get("message", {}).get("orderId")
        if order_id is not None:
            first.setdefault(order_id, entry_id)
    return {order_id for order_id, entry_id in first.items() if entry_id in entry_ids}


@pytest.mark.parametrize("ordering", ["strict", "parallel"])
def test_what_was_read_ahead_is_taken_over_at_once(
    ordering: str, platform: Platform, start_worker: StartWorker
) -> None:
    settings = {**SETTINGS, "ORDERING": ordering, "BATCH_SIZE": "50", "CLAIM_IDLE": "600"}
    first = start_worker("first", **settings)
    platform.send(user("u"))
    platform.wait_until_finished()
    blocker = platform.hold_orders()
    platform.send(*(order(f"o-{number}", "u") for number in range(100)))
    wait_until(lambda: platform.pending() == 100, "a batch in flight and one read ahead")
    second = start_worker("second", **settings)
    blocker.close()
    began = time.monotonic()
    first.terminate()
    wait_until(lambda: len(platform.orders()) == 100, "all orders to be stored")
    assert time.monotonic() - began < 10
    platform.wait_until_finished()
    assert first.wait(10) == 0
    assert second.alive
    assert platform.failed("code") == []


def test_rolling_restarts_under_load_lose_nothing(platform: Platform, start_worker: StartWorker) -> None:
    """Slow (14 s): three workers start, and two of them stop and start again under load."""
    workers = [start_worker(name, **SETTINGS) for name in ("one", "two", "three")]
    traffic = Traffic(platform, scaled(2_000, 20_000), per_second=400).start()
    for number in range(scaled(2, 10)):
        worker = workers[number % 3]
        assert worker.stop(seconds=15) == 0
        worker.start()
    wait_until(traffic.sent.is_set, "the traffic to be sent")
    platform.wait_until_finished(120)
    traffic.check_everything_is_stored_once()
    assert traffic.unanswered() == []
    assert not [worker for worker in workers if " lost " in worker.log]
