"""Options of `celery -A dbstorage worker` that change what the service does."""

from tests.service.platform import Platform, order, user
from tests.service.worker import StartWorker
from tests.waiting import wait_until


def test_a_worker_of_another_queue_says_that_retries_wait(platform: Platform, start_worker: StartWorker) -> None:
    other = start_worker("other", "-Q", "other")
    [waiting] = platform.send(order("early", "late"))
    platform.wait_for_state(waiting, "retrying")
    platform.send(user("late"))
    platform.wait_until_finished()
    assert "retries of failed tasks wait for a worker that does" in other.log
    usual = start_worker("usual")
    platform.wait_for_state(waiting, "resolved")
    wait_until(lambda: platform.orders() == {"early": "late"}, "the order to be stored")
    assert "retries of failed tasks wait" not in usual.log
