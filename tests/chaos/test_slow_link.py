"""Redis behind a link with little bandwidth or high latency: work is slower, and nothing else changes."""

import json
from collections.abc import Iterator

import pytest

from tests.chaos.conftest import scaled
from tests.chaos.liveness import reader_of, wait_until_orders_flow, wait_until_served
from tests.chaos.proxy import Proxy
from tests.chaos.traffic import Traffic
from tests.service.platform import Platform, order, user
from tests.service.worker import StartWorker
from tests.waiting import wait_until

#: 12 Mbit/s.
BYTES_PER_SECOND = 1_500_000
#: Just below the largest entry that is taken.
NEARLY_A_MEGABYTE = 1_000_000
SETTINGS = {"QUERY_TTL": "3600", "RESPONSE_MAXLEN": "100000", "USER_WAIT": "3600"}


@pytest.fixture
def proxy(platform: Platform) -> Iterator[Proxy]:
    with Proxy.to(platform.environment["REDIS_URL"]) as proxy:
        yield proxy


def test_the_lease_stays_with_who_reads_large_entries_over_a_slow_link(
    proxy: Proxy, platform: Platform, start_worker: StartWorker
) -> None:
    """Slow (20 s): so long does it take to send sixteen megabytes."""
    count = scaled(16, 120)
    commands = [{**order(f"o-{number}", "u"), "note": "x" * NEARLY_A_MEGABYTE} for number in range(count)]
    platform.send(user("u"))
    platform.send_raw(*({b"message": json.dumps(command).encode()} for command in commands))
    proxy.bytes_per_second = BYTES_PER_SECOND
    far = proxy.url(platform.environment["REDIS_URL"])
    workers = [start_worker(name, ready=False, **SETTINGS, REDIS_URL=far) for name in ("one", "two")]
    readers: list[str] = []

    def worked_off() -> bool:
        reader = reader_of(platform, workers)
        if reader is not None and readers[-1:] != [reader.name]:
            readers.append(reader.name)
        return platform.finished()

    wait_until(worked_off, "the stream to be worked off", 60 + 2 * count * NEARLY_A_MEGABYTE / BYTES_PER_SECOND)
    assert len(platform.orders()) == count
    assert len(readers) == 1, f"the lease went from {' to '.join(readers)}"
    assert not any("is interrupted" in worker.log for worker in workers)


def test_sigterm_over_a_long_link_ends_cleanly_within_ten_seconds(
    proxy: Proxy, platform: Platform, start_worker: StartWorker
) -> None:
    """Slow (20 s): every question to Redis takes 300 ms, and a worker that stops has twenty of them."""
    worker = start_worker(**SETTINGS, REDIS_URL=proxy.url(platform.environment["REDIS_URL"]))
    traffic = Traffic(platform, scaled(4_000, 20_000), per_second=1_000).start()
    wait_until_orders_flow(platform)
    proxy.delay = 0.15
    wait_until_orders_flow(platform)
    assert worker.stop(seconds=10) == 0
    assert "was killed" not in worker.log
    proxy.delay = 0.0
    wait_until(traffic.sent.is_set, "the traffic to be sent")
    worker.start()
    wait_until_served(platform)
    traffic.check_everything_is_stored_once()
    assert traffic.unanswered() == []
