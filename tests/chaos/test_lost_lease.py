"""The lease of the reader in strict order, lost while a server is away or the worker frozen, and won again."""

import pytest

from dbstorage.redis_access.holder import KeyHolder, Place
from dbstorage.redis_access.keys import lease_key
from dbstorage.settings import load_settings
from tests.chaos.conftest import Servers, full_only
from tests.chaos.liveness import (
    TAKEN_UP,
    reader_of,
    wait_for_reader,
    wait_until_drained,
    wait_until_orders_flow,
    wait_until_served,
)
from tests.chaos.proxy import Proxy
from tests.chaos.traffic import Traffic
from tests.service.platform import Platform, order, user
from tests.service.worker import StartWorker, Worker
from tests.waiting import let_it_last, wait_until

SETTINGS = {"QUERY_TTL": "3600", "RESPONSE_MAXLEN": "100000", "USER_WAIT": "3600"}
PAIR = ("one", "two")


# A leader that lost the lease


@pytest.fixture
def pair(platform: Platform, start_worker: StartWorker) -> list[Worker]:
    """Two workers in strict order, one of which reads."""
    workers = [start_worker(name, ready=False, **SETTINGS) for name in PAIR]
    for worker in workers:
        worker.wait_until_ready()
    platform.send(user("u"))
    platform.wait_until_finished()
    return workers


def test_a_leader_that_met_an_outage_and_lost_the_lease_reads_when_it_leads_again(
    servers: Servers, platform: Platform, pair: list[Worker]
) -> None:
    """Slow (25 s): a lease has to expire, and both read once."""
    leader = wait_for_reader(platform, pair)
    [other] = [worker for worker in pair if worker is not leader]
    servers.postgres.stop("immediate")
    platform.send(order("waits", "u"))
    wait_until(lambda: "is away" in leader.log, "the log to tell of the outage")
    with leader.frozen():
        wait_for_reader(platform, [other])
    wait_until(lambda: "tanding by" in leader.log, "it to notice that it lost the lease")
    servers.postgres.start()
    wait_until_drained(platform)
    assert other.stop() == 0
    wait_for_reader(platform, [leader])
    wait_until_served(platform)
    assert set(platform.orders()) == {"waits"}
    assert platform.failed("code") == []


@full_only
def test_a_leader_that_met_a_redis_without_writes_and_lost_the_lease_reads_when_it_leads_again(
    platform: Platform, pair: list[Worker]
) -> None:
    """Slow (40 s): Redis takes no writes for longer than a lease lasts, as in a managed one's planned failover."""
    leader = wait_for_reader(platform, pair)
    [other] = [worker for worker in pair if worker is not leader]
    traffic = Traffic(platform, 8_000, per_second=500).start()
    wait_until_orders_flow(platform)
    platform.redis.execute_command("CLIENT", "PAUSE", 12_000, "WRITE")
    wait_until(lambda: "is interrupted" in leader.log, "it to notice")
    # The batch that it had in hand comes back undone.
    let_it_last(3)
    with leader.frozen():
        # At the end of the pause both ask for the lease; this way it is the other one that gets it.
        wait_for_reader(platform, [other], 2 * TAKEN_UP)
    wait_until_served(platform, 2 * TAKEN_UP)
    assert other.stop() == 0
    wait_until_served(platform, 2 * TAKEN_UP)
    wait_until(traffic.sent.is_set, "the traffic to be sent")
    wait_until_drained(platform)
    traffic.check_everything_is_stored_once()


def test_what_a_leader_reads_before_it_notices_that_it_lost_is_not_stranded(
    platform: Platform, start_worker: StartWorker
) -> None:
    """Slow (20 s): a lease has to expire, and what the first one read is another's 5 s later."""
    with Proxy.to(platform.environment["REDIS_URL"], delay=0.005) as proxy:
        far = proxy.url(platform.environment["REDIS_URL"])
        workers = [start_worker(name, ready=False, **SETTINGS, REDIS_URL=far, BATCH_SIZE="100") for name in PAIR]
        platform.send(user("u"))
        platform.wait_until_finished()
        leader = wait_for_reader(platform, workers)
        [other] = [worker for worker in workers if worker is not leader]
        with leader.frozen():
            wait_for_reader(platform, [other])
            wait_until_served(platform)
            # The other one has all that it reads ahead, and more is there for whoever asks.
            blocker = platform.hold_orders()
            platform.send(*(order(f"o-{number}", "u") for number in range(1_000)))
            wait_until(lambda: platform.pending() > 100, "entries in hand")
        wait_until(lambda: "tanding by" in leader.log, "it to notice that it lost the lease")
        blocker.close()
        wait_until_drained(platform)
        wait_until_served(platform)
    assert len(platform.orders()) == 1_000
    assert platform.failed("code") == []


@full_only
def test_leaders_that_are_frozen_under_load_strand_nothing(platform: Platform, start_worker: StartWorker) -> None:
    """Slow (100 s): each of the two is frozen until the other leads."""
    with Proxy.to(platform.environment["REDIS_URL"], delay=0.005) as proxy:
        far = proxy.url(platform.environment["REDIS_URL"])
        workers = [start_worker(name, ready=False, **SETTINGS, REDIS_URL=far, BATCH_SIZE="100") for name in PAIR]
        traffic = Traffic(platform, 18_000, per_second=300).start()
        for _ in range(6):
            leader = wait_for_reader(platform, workers)
            wait_until_orders_flow(platform)
            with leader.frozen():
                wait_for_reader(platform, [worker for worker in workers if worker is not leader])
            wait_until_orders_flow(platform)
        wait_until(traffic.sent.is_set, "the traffic to be sent")
        wait_until_drained(platform)
    traffic.check_everything_is_stored_once()
    assert traffic.unanswered() == []


def test_a_lease_that_a_worker_elsewhere_renews_is_respected(platform: Platform, start_worker: StartWorker) -> None:
    elsewhere = KeyHolder(
        "other@elsewhere", Place("elsewhere.example", "its boot", "its namespace"), 17, "a nonce"
    ).token
    key = lease_key(load_settings(platform.environment))
    platform.redis.set(key, elsewhere, px=6_000)
    worker = start_worker(**SETTINGS)
    platform.send(user("waits"))
    for _ in range(30):
        # Often enough, and then no more.
        platform.redis.set(key, elsewhere, px=3_000)
        let_it_last(0.1)
        assert reader_of(platform, [worker]) is None
    assert platform.users() == {}
    wait_until_served(platform)
    assert "Standing by: other@elsewhere reads the stream" in worker.log
