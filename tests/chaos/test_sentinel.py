"""Redis behind Sentinel: its master is killed, frozen and changed on purpose; the service follows within 10 s.

Slow: electing a master takes its seconds each time.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import redis
from kombu.exceptions import OperationalError

from dbstorage.application import create_app
from dbstorage.checks.broker import check_broker
from dbstorage.checks.finding import fine
from dbstorage.checks.redis_server import check_redis
from dbstorage.checks.sentinel import SENTINEL
from dbstorage.redis_access.client import connect_redis
from dbstorage.settings import load_settings, without_password
from tests.chaos.proxy import Proxy
from tests.chaos.sentinels import Sentinels
from tests.service.platform import Platform, order, question, user
from tests.service.worker import StartWorker, Worker
from tests.waiting import wait_until

#: From the moment in which the sentinels name another master.
FOLLOWING = 10.0


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    sentinels = Sentinels(tmp_path)
    try:
        sentinels.start()
        yield sentinels
    finally:
        sentinels.stop()


@pytest.fixture
def environment(sentinels: Sentinels, database_url: str) -> dict[str, str]:
    return {**os.environ, "REDIS_URL": sentinels.url, "DATABASE_URL": database_url}


class Behind(Platform):
    """The platform, whose clients ask the sentinels as well."""

    def __init__(self, url: str, database_url: str) -> None:
        super().__init__("redis://unused", database_url)
        self.redis = connect_redis(url)


@pytest.fixture
def platform(sentinels: Sentinels, database_url: str) -> Iterator[Platform]:
    with closing(Behind(sentinels.url, database_url)) as platform:
        yield platform


def stored_on_the_new_master(platform: Platform, sentinels: Sentinels, old: object, probe: str) -> float:
    """Seconds from the promotion until an order that was written to the new master is stored and acknowledged."""
    wait_until(lambda: sentinels.master is not old, "another master")
    began = time.monotonic()

    def sent() -> bool:
        try:
            platform.send(order(probe, "ann"))
        except redis.RedisError:
            return False
        return True

    wait_until(sent, "the new master to take a command")
    wait_until(lambda: probe in platform.orders(), "the order to be stored")
    platform.wait_until_finished()
    return time.monotonic() - began


@pytest.mark.parametrize("what", ["killed", "frozen", "planned"])
def test_the_service_follows_the_master(
    what: str, sentinels: Sentinels, platform: Platform, start_worker: StartWorker
) -> None:
    worker = start_worker("following", QUERY_TTL="3600")
    platform.send(user("ann"), *(order(f"before-{number}", "ann") for number in range(200)))
    platform.wait_until_finished()
    old = sentinels.master
    # Not all of these are stored by then, but all of them are on every server.
    platform.send(*(order(f"during-{number}", "ann") for number in range(500)))
    assert platform.redis.wait(2, 5_000) == 2
    if what == "killed":
        old.kill()
    elif what == "frozen":
        old.signal(signal.SIGSTOP)
    else:
        sentinels.fail_over()
    seconds = stored_on_the_new_master(platform, sentinels, old, f"after-{what}")
    assert seconds < FOLLOWING, worker.log
    # A question is answered there too.
    platform.send(question("ann", "asked-after", limit=1))
    assert platform.answer_to("asked-after")["orders"][0]["orderId"]
    assert len(platform.orders()) == 701
    assert worker.alive
    assert "Traceback" not in worker.log
    wait_until(lambda: broker_answers(sentinels), "remote control through the new master", 60)
    assert worker.stop() == 0


def test_a_master_that_became_a_replica_is_left(
    tmp_path: Path, database_url: str, environment: dict[str, str], sentinels: Sentinels
) -> None:
    """An address that moves with the master, such as a name or a service of Kubernetes; sentinels are not asked."""
    old = sentinels.master
    new = next(server for server in sentinels.servers if server is not old)
    with ExitStack() as stack:
        moving = stack.enter_context(Proxy(old.port))
        url = f"redis://:p%40ss@127.0.0.1:{moving.port}/0"
        worker = stack.enter_context(Worker({**environment, "REDIS_URL": url}, tmp_path, "moved")).start()
        platform = stack.enter_context(closing(Platform(url, database_url)))
        platform.send(user("ann"), order("before", "ann"))
        platform.wait_until_finished()
        for sentinel in sentinels.sentinels:
            # They would undo it.
            sentinel.kill()
        with new.client() as promoted, old.client() as demoted:
            promoted.replicaof("NO", "ONE")
            moving.lead_to(new.port)
            demoted.replicaof("127.0.0.1", new.port)
        after = stack.enter_context(closing(Platform(f"redis://:p%40ss@127.0.0.1:{new.port}/0", database_url)))
        after.send(order("after", "ann"))
        wait_until(lambda: "after" in after.orders(), "the new master to be read", 20)
        after.wait_until_finished()
        assert worker.stop() == 0


def test_check_says_what_a_fail_over_may_forget(sentinels: Sentinels, database_url: str) -> None:
    settings = load_settings({"REDIS_URL": sentinels.url, "DATABASE_URL": database_url})

    def found() -> tuple[str, str]:
        [finding] = [each for each in check_redis(settings) if each.subject == SENTINEL]
        return finding.grade, finding.sentence

    grade, sentence = found()
    assert grade == "warning"
    assert "set min-replicas-to-write 1 and min-replicas-max-lag 2 on all servers" in sentence
    with sentinels.master.client() as client:
        client.config_set("min-replicas-to-write", 1)
    assert found()[0] == "fine"
    assert [*check_broker(settings)][:1] == [fine("Broker", f"{without_password(sentinels.url)} answers.")]


def broker_answers(sentinels: Sentinels) -> bool:
    settings = load_settings({"REDIS_URL": sentinels.url, "DATABASE_URL": "postgresql://ann@nowhere/none"})
    try:
        return bool(create_app(settings).control.ping(timeout=1))
    except OperationalError:
        return False
