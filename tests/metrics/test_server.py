import socket
import urllib.request
from collections.abc import Iterator
from contextlib import closing

import pytest

from dbstorage.embedded.ports import choose_port
from dbstorage.metrics.health import LONGEST_STANDSTILL, Health, ReaderState
from dbstorage.metrics.http_server import MetricsServer
from dbstorage.metrics.service_metrics import ServiceMetrics
from tests.metrics.scraping import get, scrape


@pytest.fixture
def metrics() -> ServiceMetrics:
    return ServiceMetrics()


@pytest.fixture
def port(metrics: ServiceMetrics) -> Iterator[int]:
    number = choose_port()
    server = MetricsServer(metrics, number)
    server.start()
    yield number
    server.stop()


def test_metrics_are_served_as_prometheus_reads_them(port: int) -> None:
    samples = scrape(port)
    assert samples['dbstorage_entries_total{function="createCloseOrder",outcome="stored"}'] == 0
    assert samples["process_resident_memory_bytes"] > 0
    assert not [name for name in samples if name.split("{")[0].endswith("_created")]


def test_a_scraper_that_prefers_open_metrics_gets_it(port: int) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.headers["Content-Type"].startswith("application/openmetrics-text")
        assert response.read().endswith(b"# EOF\n")


def test_a_live_worker_answers_200_and_a_stuck_one_503_with_the_reason(port: int, metrics: ServiceMetrics) -> None:
    assert get(port, "/livez") == (200, "alive (waiting)\n")
    now = [0.0]
    health = Health(lambda: now[0])
    health.beat(ReaderState.ACTIVE, stalled_for=0.0, holding=None)
    metrics.health = health
    assert get(port, "/livez") == (200, "alive (active)\n")
    now[0] += LONGEST_STANDSTILL + 10
    assert get(port, "/livez") == (503, "The event loop has stood still for 40 s.\n")


def test_readiness_follows_the_servers(port: int, metrics: ServiceMetrics) -> None:
    assert get(port, "/readyz") == (503, "Redis and the database have not been asked yet.\n")
    metrics.health.servers_asked("Redis does not answer: refused.")
    assert get(port, "/readyz") == (503, "Redis does not answer: refused.\n")
    metrics.health.servers_asked()
    assert get(port, "/readyz")[0] == 503, "the worker is not connected to its broker yet"
    metrics.health.beat(ReaderState.WAITING, stalled_for=0.0, holding=None)
    assert get(port, "/readyz") == (200, "ready (waiting)\n")


def test_probes_may_ask_for_the_head_alone_and_add_a_query(port: int) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/livez?verbose", method="HEAD")
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status == 200
        assert response.read() == b""


def test_another_path_says_what_there_is(port: int) -> None:
    assert get(port, "/") == (404, "Here are /metrics, /livez and /readyz.\n")


def test_a_client_that_says_nothing_keeps_nobody_else_waiting(port: int) -> None:
    with closing(socket.create_connection(("127.0.0.1", port))):
        assert get(port, "/livez")[0] == 200


def test_a_port_in_use_is_refused(port: int, metrics: ServiceMetrics) -> None:
    with pytest.raises(OSError, match="in use"):
        MetricsServer(metrics, port)
