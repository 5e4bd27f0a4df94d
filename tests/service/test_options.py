"""Options of `celery -A dbstorage worker` that change what the service does."""

from dbstorage.application import create_app
from dbstorage.settings import load_settings
from tests.service.platform import Platform, order, user
from tests.service.worker import StartWorker
from tests.waiting import wait_until


def test_a_worker_of_another_queue_retries_and_says_that_calls_wait(
    platform: Platform, start_worker: StartWorker
) -> None:
    other = start_worker("other", "-Q", "other")
    [waiting] = platform.send(order("early", "late"))
    platform.wait_for_state(waiting, "retrying")
    with create_app(load_settings(platform.environment)) as app:
        app.send_task("createUser", kwargs={"userId": "called", "userEmail": "called@x"})
    platform.send(user("late"))
    platform.wait_for_state(waiting, "resolved")
    assert platform.orders() == {"early": "late"}
    assert "commands that come through the broker wait for a worker that does" in other.log
    assert "called" not in platform.users()
    usual = start_worker("usual")
    wait_until(lambda: "called" in platform.users(), "the call to be run")
    assert "through the broker wait" not in usual.log
