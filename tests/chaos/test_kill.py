"""Processes killed at any instant: entries are delivered again, which is harmless because tasks are idempotent."""

import random
import threading

from tests.chaos.conftest import scaled
from tests.chaos.traffic import Traffic
from tests.service.platform import Platform
from tests.service.worker import StartWorker
from tests.waiting import wait_until

#: Every question is younger than this when its turn comes, and none is trimmed away.
SETTINGS = {"QUERY_TTL": "3600", "RESPONSE_MAXLEN": "100000"}


def test_killed_at_random_moments_nothing_is_lost_or_doubled(platform: Platform, start_worker: StartWorker) -> None:
    """Slow (10 s): five kills, and after every other one a worker has to start again."""
    kills = scaled(5, 24)
    traffic = Traffic(platform, scaled(5_000, 20_000), per_second=scaled(1_000, 400)).start()
    worker = start_worker(**SETTINGS)
    dice = random.Random(7)
    pause = threading.Event()
    for number in range(kills):
        pause.wait(dice.uniform(0.05, 1.0))
        if number % 2:
            worker.kill_pool_process()
        else:
            worker.kill()
            worker.start(ready=dice.random() < 0.7)
    wait_until(traffic.sent.is_set, "the traffic to be sent")
    platform.wait_until_finished(120)
    traffic.check_everything_is_stored_once()
    assert traffic.unanswered() == []


def test_a_killed_worker_takes_up_its_own_entries_first(platform: Platform, start_worker: StartWorker) -> None:
    worker = start_worker(**SETTINGS)
    blocker = platform.hold_orders()
    traffic = Traffic(platform, 1_500, per_second=100_000).start()
    wait_until(traffic.sent.is_set, "the traffic to be sent")
    wait_until(lambda: platform.pending() > 0, "entries in hand")
    worker.kill()
    blocker.close()
    platform.send()
    worker.start()
    platform.wait_until_finished()
    assert "entries that were pending" in worker.log
    traffic.check_everything_is_stored_once()
    assert traffic.unanswered() == []
