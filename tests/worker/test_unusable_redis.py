"""A worker says in a sentence that a Redis can never do, and ends, instead of trying for ever."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from dbstorage.embedded.ports import choose_port
from dbstorage.embedded.redis import EmbeddedRedis, server_program
from tests.service.test_least_privilege import PASSWORD, with_login
from tests.waiting import wait_until


def start(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "celery", "-A", "dbstorage", "worker", "-n", "unusable@test"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """The URL of a Redis Cluster of one node that has all slots."""
    port = choose_port()
    arguments = ["--port", str(port), "--cluster-enabled", "yes", "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen([server_program(), *arguments], stdout=subprocess.DEVNULL)
    client: Any = redis.Redis(port=port)

    def answers() -> bool:
        with suppress(redis.ConnectionError):
            return bool(client.ping())
        return False

    wait_until(answers, "the node to answer")
    client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait()


@pytest.mark.parametrize("only", ["REDIS_URL", "CELERY_BROKER_URL"])
def test_a_cluster_is_refused_in_one_sentence(cluster: str, redis_url: str, database_url: str, only: str) -> None:
    urls = {"REDIS_URL": redis_url, "CELERY_BROKER_URL": redis_url, only: cluster}
    done = start({**urls, "DATABASE_URL": database_url})
    assert done.returncode == 2
    [sentence] = done.stderr.splitlines()
    assert sentence.startswith(f"{cluster} is a Redis Cluster, with which neither the streams nor Celery's broker work")


def test_a_user_without_the_channels_is_told_which(tmp_path: Path, database_url: str) -> None:
    server = EmbeddedRedis(tmp_path / "own", durable=False)
    server.start()
    try:
        with redis.Redis.from_url(server.url) as client:
            untyped: Any = client
            for name, channels in (("none", ()), ("prefix", ("&dbstorage:*",))):
                rules = ["on", f">{PASSWORD}", "~*", "resetchannels", *channels, "+@all", "-@dangerous"]
                untyped.execute_command("ACL", "SETUSER", name, *rules)
        for name in ("none", "prefix"):
            done = start({"REDIS_URL": with_login(server.url, f"{name}:{PASSWORD}"), "DATABASE_URL": database_url})
            assert done.returncode == 2
            own = "dbstorage:exness:dbstorage-stream:dbstorage:/0."
            told = done.stderr.splitlines()
            assert len(told) == 2, done.stderr
            assert f"add &{own}celery.pidbox to it" in told[0]
            assert f"add &{own}celeryev/worker.* to it" in told[1]
    finally:
        server.kill()
