"""A separate broker (RabbitMQ) that is away while Redis and PostgreSQL answer: the worker waits, and says so."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dbstorage.embedded.ports import choose_port
from tests.chaos.proxy import Proxy
from tests.metrics.scraping import get
from tests.service.platform import Platform, order, user
from tests.service.rabbitmq import running_rabbitmq
from tests.service.worker import StartWorker
from tests.waiting import wait_until

#: Within this many seconds of the broker's return whatever is due is taken up (docs/delivery.md, Liveness).
TAKEN_UP = 10


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[tuple[Proxy, str]]:
    """The way to a broker, and its URL by this way."""
    directory = tmp_path / "rabbitmq"
    directory.mkdir()
    with running_rabbitmq(directory) as url, Proxy.to(url) as proxy:
        yield proxy, proxy.url(url)


def status(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("dbstorage")
    return subprocess.run([program, "status"], env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_worker_whose_broker_is_away_says_so_and_goes_on_when_it_is_back(
    broker: tuple[Proxy, str], platform: Platform, start_worker: StartWorker
) -> None:
    proxy, url = broker
    port = choose_port()
    settings = {"CELERY_BROKER_URL": url, "METRICS_PORT": str(port)}
    worker = start_worker(**settings)
    platform.send(user("u"), order("before", "u"))
    platform.wait_until_finished()
    wait_until(lambda: get(port, "/readyz")[0] == 200, "the worker to be ready")

    proxy.refuse()
    wait_until(lambda: get(port, "/readyz")[0] == 503, "/readyz to tell")
    wait_until(lambda: "The broker amqp://" in get(port, "/readyz")[1], "/readyz to name the broker")
    assert get(port, "/livez")[0] == 200, "a restart would mend nothing"
    platform.send(order("meanwhile", "u"))
    environment = {**os.environ, **platform.environment, **settings}
    wait_until(lambda: "broker" in status(environment).stdout, "status to name the broker")
    assert status(environment).returncode == 3

    proxy.mend()
    wait_until(lambda: "meanwhile" in platform.orders(), "the order to be stored", TAKEN_UP)
    wait_until(lambda: get(port, "/readyz")[0] == 200, "the worker to be ready again")
    assert worker.alive
