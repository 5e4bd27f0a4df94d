"""PostgreSQL that vanished behind a proxy which keeps its connections open: nothing refuses, nothing answers."""

from collections.abc import Iterator

import pytest

from tests.chaos.conftest import Servers
from tests.chaos.proxy import Proxy
from tests.service.platform import Platform, order, question, user
from tests.service.worker import StartWorker
from tests.waiting import wait_until

#: Seconds: the limit on silence, then an attempt on a new connection.
STORED_AFTER = 12


@pytest.fixture
def proxy(servers: Servers) -> Iterator[Proxy]:
    with Proxy.to(servers.postgres.url) as proxy:
        yield proxy


@pytest.fixture
def settings(servers: Servers, proxy: Proxy) -> dict[str, str]:
    return {"DATABASE_URL": proxy.url(servers.postgres.url), "QUERY_TTL": "3600"}


@pytest.mark.parametrize("replies_only", [True, False], ids=["replies are lost", "all is lost"])
def test_connections_that_became_black_holes_are_replaced(
    replies_only: bool, proxy: Proxy, settings: dict[str, str], platform: Platform, start_worker: StartWorker
) -> None:
    """Slow (10 s): a server may be silent for as long as a statement may take, and a second more."""
    worker = start_worker(**settings)
    platform.send(user("u"), order("before", "u"), question("u", "before"))
    platform.answer_to("before")
    proxy.black_hole(replies_only=replies_only)
    platform.send(order("after", "u"), question("u", "meanwhile"))
    wait_until(lambda: "after" in platform.orders(), "the order to be stored", STORED_AFTER)
    assert platform.answer_to("meanwhile")["error"] == "unavailable"
    # The other process of the pool may find its own connection silent, once.
    for attempt in ("after", "again"):
        platform.send(question("u", attempt))
        answer = platform.answer_to(attempt)
        if "error" not in answer:
            break
    assert [item["orderId"] for item in answer["orders"]] == ["after", "before"]
    platform.wait_until_finished()
    assert platform.failed("code") == []
    assert "no reply from the server within 6 s" in worker.log


def test_a_silent_database_is_an_outage_and_ends_by_itself(
    proxy: Proxy, settings: dict[str, str], platform: Platform, start_worker: StartWorker
) -> None:
    worker = start_worker(**settings)
    platform.send(user("u"), order("before", "u"))
    platform.wait_until_finished()
    proxy.black_hole(new_too=True)
    platform.send(order("after", "u"))
    wait_until(lambda: "no reply from the server" in worker.log, "the worker to notice", STORED_AFTER)
    proxy.mend()
    wait_until(lambda: "after" in platform.orders(), "the order to be stored", STORED_AFTER)
    assert platform.failed("code") == []


def test_sigterm_ends_a_worker_whose_database_is_silent(
    proxy: Proxy, settings: dict[str, str], platform: Platform, start_worker: StartWorker
) -> None:
    worker = start_worker(**settings)
    platform.send(user("u"), order("before", "u"))
    platform.wait_until_finished()
    proxy.black_hole(new_too=True)
    platform.send(order("in-hand", "u"))
    wait_until(lambda: platform.pending() == 1, "the order to be in hand")
    assert worker.stop(seconds=10) == 0
    assert platform.pending() == 1
