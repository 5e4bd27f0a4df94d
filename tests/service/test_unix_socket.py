"""A Redis on this machine that listens on a Unix socket alone."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from dbstorage.application import create_app
from dbstorage.embedded.redis import server_program
from dbstorage.settings import load_settings
from tests.service.platform import Platform, question, user
from tests.service.worker import StartWorker
from tests.waiting import wait_until


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    socket = tmp_path / "redis.sock"
    command = [str(server_program()), "--port", "0", "--unixsocket", str(socket), "--requirepass", "p@ss", "--save", ""]
    server = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    url = f"unix://:p%40ss@{socket}?db=3"
    try:
        with redis.Redis.from_url(url) as client:
            wait_until(socket.exists, "the socket")
            wait_until(client.ping, "Redis to answer")
        yield url
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def platform(redis_url: str, database_url: str) -> Iterator[Platform]:
    with closing(Platform(redis_url, database_url)) as platform:
        yield platform


def test_streams_and_broker_work_through_a_unix_socket(
    platform: Platform, start_worker: StartWorker, redis_url: str
) -> None:
    worker = start_worker("by-socket", QUERY_TTL="3600")
    platform.send(user("ann"), question("ann", "asked"))
    assert platform.answer_to("asked")["orders"] == []
    app = create_app(load_settings({**os.environ, **platform.environment}))
    assert app.control.broadcast("ping", reply=True, timeout=5, limit=1) == [{"by-socket@test": {"ok": "pong"}}]
    assert "p@ss" not in worker.log
    assert worker.stop() == 0
