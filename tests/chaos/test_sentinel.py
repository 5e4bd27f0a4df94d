"""Redis behind Sentinel: its master is killed, frozen and changed on purpose; the service follows within 10 s.

Slow: electing a master takes its seconds each time.
"""

import os
import signal
import subprocess
import sys
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
from dbstorage.checks.sentinel import SENTINEL, SENTINELS
from dbstorage.embedded.ports import choose_port
from dbstorage.redis_access.client import connect_redis
from dbstorage.settings import load_settings, without_password
from tests.chaos.proxy import Proxy
from tests.chaos.sentinels import SENTINEL_PASSWORD, SERVICE, Sentinels
from tests.metrics.scraping import get
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


def test_without_any_sentinel_work_goes_on_with_the_master_that_they_named_last(
    sentinels: Sentinels, platform: Platform, start_worker: StartWorker, environment: dict[str, str]
) -> None:
    """Nobody can promote another one meanwhile; who does not know the master yet says that it cannot find it."""
    port = choose_port()
    worker = start_worker(METRICS_PORT=str(port))
    platform.send(user("ann"), order("before", "ann"))
    platform.wait_until_finished()
    master = f"redis://:p%40ss@127.0.0.1:{sentinels.master.port}/0"
    for sentinel in sentinels.sentinels:
        sentinel.kill()
    with closing(Platform(master, environment["DATABASE_URL"])) as beside:
        wait_until(lambda: "No sentinel answers" in worker.log, "the worker to notice")
        beside.send(order("after", "ann"), question("ann", "asked-after"))
        assert len(beside.answer_to("asked-after")["orders"]) == 2
        beside.wait_until_finished()
    assert "Reading is interrupted" not in worker.log
    wait_until(lambda: "no sentinel answers" in get(port, "/readyz")[1], "the probe to say so")
    status, text = get(port, "/readyz")
    assert (status, text.partition(";")[0]) == (200, "ready (active)")

    silent = " ".join(f"127.0.0.1:{each.port} does not answer" for each in sentinels.sentinels)
    for command in ("status", "check"):
        ended = subprocess.run(
            [sys.executable, "-m", "dbstorage", command], env=environment, capture_output=True, text=True, timeout=60
        )
        assert ended.returncode == 3
        said = ended.stdout.replace(",", "")
        assert silent in said
        assert "Workers that know the master go on with it" in said
        assert "nothing is read" not in said

    for sentinel in sentinels.sentinels:
        sentinel.start()
    wait_until(lambda: "A sentinel answers again" in worker.log, "the worker to say so")
    wait_until(lambda: get(port, "/readyz") == (200, "ready (active)\n"), "the probe to say no more")
    assert worker.log.count("No sentinel answers") == 1


def test_check_names_a_sentinel_that_is_away_and_one_that_names_another_master(
    sentinels: Sentinels, database_url: str
) -> None:
    settings = load_settings({"REDIS_URL": sentinels.url, "DATABASE_URL": database_url})

    def found() -> list[tuple[str, str]]:
        return [(each.grade, each.sentence) for each in check_redis(settings) if each.subject == SENTINELS]

    assert found() == [("fine", f"3 sentinels name 127.0.0.1:{sentinels.master.port} as the master of trading.")]
    first, second, third = sentinels.sentinels
    other = next(server for server in sentinels.servers if server is not sentinels.master)
    master = sentinels.master
    with third.client(SENTINEL_PASSWORD) as client:
        client.execute_command("SENTINEL", "REMOVE", SERVICE)
        client.execute_command("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", other.port, 2)
    second.kill()
    assert found() == [
        (
            "warning",
            f"127.0.0.1:{second.port} does not answer; 127.0.0.1:{first.port} names "
            f"127.0.0.1:{master.port} as the master of trading, 127.0.0.1:{third.port} names 127.0.0.1:{other.port}: "
            "they have to agree, or a worker follows whichever answers first.",
        )
    ]


def broker_answers(sentinels: Sentinels) -> bool:
    settings = load_settings({"REDIS_URL": sentinels.url, "DATABASE_URL": "postgresql://ann@nowhere/none"})
    try:
        return bool(create_app(settings).control.ping(timeout=1))
    except OperationalError:
        return False
