"""The example clients, run as their README says."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dbstorage.embedded.redis import EmbeddedRedis
from tests.node import node_packages
from tests.service.platform import Platform

EXAMPLES = Path(__file__).parents[2] / "examples"

Client = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module", params=["python", "node"])
def client(request: pytest.FixtureRequest, service: Platform, redis_server: EmbeddedRedis) -> Client:
    """Runs the client for a user; settings are given as keywords."""
    if request.param == "python":
        command = [sys.executable, str(EXAMPLES / "python-client" / "client.py")]
    else:
        command = ["node", str(node_packages(EXAMPLES / "node-client") / "client.js")]

    def run(user_id: str, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "REDIS_URL": redis_server.url, **settings}
        return subprocess.run([*command, user_id], env=environment, capture_output=True, text=True, timeout=60)

    return run


def test_a_client_signs_up_closes_an_order_and_prints_the_history(
    client: Client, service: Platform, request: pytest.FixtureRequest
):
    user_id = f"client-{request.node.callspec.id}"
    first, second = client(user_id), client(user_id)
    assert (first.returncode, first.stderr) == (0, "")
    assert (second.returncode, second.stderr) == (0, "")
    newest_first = service.query(
        'SELECT "orderId" FROM "Orders" WHERE "userId" = %s ORDER BY "closeTime" DESC', user_id
    )
    assert [line.split()[1] for line in second.stdout.splitlines()] == [row[0] for row in newest_first]
    assert second.stdout.endswith(first.stdout)
    assert len(newest_first) == 2
    assert service.users()[user_id] == f"{user_id}@example.com"


def test_a_client_says_when_nobody_answers(client: Client):
    result = client("nobody", DBSTORAGE_STREAM="nobody-reads-this")
    assert result.returncode == 1
    assert result.stderr == "No answer within 5 s: is the service running?\n"


def test_a_client_says_when_redis_is_not_there(client: Client):
    result = client("nobody", REDIS_URL="redis://127.0.0.1:1")
    assert result.returncode == 1
    assert result.stderr.startswith("Redis cannot be used: ")
    assert len(result.stderr.splitlines()) == 1
