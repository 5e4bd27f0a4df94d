"""The whole service with exactly the rights that `dbstorage grants` prints, on PostgreSQL and on Redis."""

import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis
from click.testing import CliRunner

from dbstorage.cli import main
from dbstorage.embedded.redis import EmbeddedRedis
from tests.dashboard.flower_process import Flower
from tests.service.platform import Platform, order, question, user
from tests.service.worker import Worker
from tests.waiting import wait_until

ROLES = ("dbstorage_service", "dbstorage_flower")
PASSWORD = "some-password"


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis whose users are this test's own."""
    server = EmbeddedRedis(tmp_path / "own-redis", durable=False)
    server.start()
    yield server
    server.kill()


def with_login(url: str, login: str, path: str | None = None) -> str:
    """The same place with another login."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{login}@{place}", path=parts.path if path is None else path))


def run(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(main, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def set_up_roles(platform: Platform, sql: str) -> None:
    for role in ROLES:
        if platform.query("SELECT 1 FROM pg_roles WHERE rolname = %s", role):
            platform.query(f"DROP OWNED BY {role}; DROP ROLE {role}")
        platform.query(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    platform.query("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    platform.query(sql)


def set_up_users(client: Any, lines: list[str]) -> None:
    for line in lines:
        if line.startswith("user "):
            _, name, *rules = shlex.split(line.replace("><password>", f">{PASSWORD}"), posix=False)
            client.execute_command("ACL", "SETUSER", name, "reset", *rules)


def test_the_whole_service_runs_with_exactly_these_rights(
    own_redis: EmbeddedRedis, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    owner = {"REDIS_URL": own_redis.url, "DATABASE_URL": database_url}
    platform = Platform(own_redis.url, database_url)
    set_up_roles(platform, run(owner, monkeypatch, "grants", "--sql").stdout)
    set_up_users(platform.redis, run(owner, monkeypatch, "grants", "--acl").stdout.splitlines())
    service = {
        "REDIS_URL": with_login(own_redis.url, f"dbstorage:{PASSWORD}"),
        "DATABASE_URL": with_login(database_url, f"dbstorage_service:{PASSWORD}"),
    }

    checked = run(service, monkeypatch, "check", "--json")
    assert checked.exit_code == 0, checked.stdout
    assert [found for found in json.loads(checked.stdout) if found["grade"] == "problem"] == []

    engine: Any = redis.Redis.from_url(with_login(own_redis.url, f"engine:{PASSWORD}"), protocol=2)
    commands = [user("u"), order("o", "u"), order("late", "v"), order("o", "u", quantity=9.0), question("u", "q")]
    with Worker({**os.environ, **service, "USER_WAIT": "60"}, tmp_path) as worker:
        worker.start()
        for command in commands:
            engine.xadd("exness:dbstorage-stream", {"message": json.dumps(command)})
        assert [each["orderId"] for each in platform.answer_to("q")["orders"]] == ["o"]
        assert engine.xrevrange("exness:response-stream", count=1)
        # A retry, a waiting order, a move, an operator.
        engine.xadd("exness:dbstorage-stream", {"message": json.dumps(user("v"))})
        wait_until(lambda: len(platform.orders()) == 2, "the order that waited")
        engine.xadd("exness:dbstorage-stream", {"message": json.dumps(user("w", "u@example.com"))})
        wait_until(lambda: platform.orders().get("o") == "w", "the move")
        run(service, monkeypatch, "failed", "retry", "--code", "order_conflict", "--yes")
        wait_until(lambda: platform.failed("attempts")[-1] == (2,), "the retry")
        assert run(service, monkeypatch, "failed", "discard", "--code", "order_conflict", "--yes").exit_code == 0
        assert run(service, monkeypatch, "status").exit_code == 0
        audited = run(service, monkeypatch, "audit", "--json")
        assert audited.exit_code == 0, audited.stdout
        assert "NOPERM" not in worker.log
        assert "No permissions" not in worker.log
        assert worker.stop() == 0
    platform.close()
    with pytest.raises(redis.ResponseError):
        engine.get("dbstorage:anything")
    with pytest.raises(redis.ResponseError):
        engine.delete("exness:dbstorage-stream")


def test_flower_runs_with_exactly_its_rights(
    own_redis: EmbeddedRedis, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    owner = {"REDIS_URL": own_redis.url, "DATABASE_URL": database_url}
    platform = Platform(own_redis.url, database_url)
    set_up_roles(platform, run(owner, monkeypatch, "grants", "--sql").stdout)
    set_up_users(platform.redis, run(owner, monkeypatch, "grants", "--acl").stdout.splitlines())
    flowers = {
        "REDIS_URL": with_login(own_redis.url, f"dbstorage-flower:{PASSWORD}"),
        "DATABASE_URL": with_login(database_url, f"dbstorage_flower:{PASSWORD}"),
    }
    with Worker({**os.environ, **owner}, tmp_path) as worker:
        worker.start()
        platform.send(user("u"), order("o", "u"), order("o", "u", quantity=9.0), order("p", "u", symbol="doge"))
        platform.wait_until_finished()
        with Flower({**os.environ, **flowers, "FLOWER_UNAUTHENTICATED_API": "true"}, tmp_path) as flower:
            state = flower.get("/service/state").json
            assert state["verdict"]["standing"] == "fine", state["verdict"]
            assert (state["redis"]["problem"], state["redis"]["refusal"], state["database"]["problem"]) == (None,) * 3
            assert state["database"]["last_order"]["order_id"] == "o"
            assert flower.post("/service/pause", {"reason": "a try"}).json == {"sentence": "The service is paused."}
            assert flower.post("/service/resume").json == {"sentence": "The service goes on."}
            assert "order_conflict" in flower.get("/failed").text
            newest = platform.query("SELECT max(id) FROM dbstorage.failed_tasks")[0][0]
            changed = [
                flower.post(f"/failed/{what}", {"up_to": newest, "code": code}).json["changed"]
                for what, code in (("retry", "order_conflict"), ("discard", "invalid_symbol"))
            ]
            assert changed == [1, 1]
            wait_until(lambda: (2,) in platform.failed("attempts"), "the retry")
            assert "o" in flower.get("/service/find?what=o").text
            assert [each["what"] for each in flower.get("/service/state").json["operations"]][-2:] == [
                "resume",
                "pause",
            ]
            for sign in ("NOPERM", "No permissions", "permission denied", "Traceback"):
                assert sign not in flower.log
    platform.close()


def test_a_redis_user_without_the_channels_is_told_which(
    own_redis: EmbeddedRedis, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        untyped: Any = client
        rules = ["on", f">{PASSWORD}", "~*", "resetchannels", "&dbstorage:*", "+@all", "-@dangerous"]
        untyped.execute_command("ACL", "SETUSER", "prefixed", *rules)
    environment = {"REDIS_URL": with_login(own_redis.url, f"prefixed:{PASSWORD}"), "DATABASE_URL": database_url}
    found = json.loads(run(environment, monkeypatch, "check", "--json").stdout)
    told = [each["sentence"] for each in found if each["subject"] == "Broker channels"]
    own = "dbstorage:exness:dbstorage-stream:dbstorage:/0."
    assert [
        f"add &{own}{name};" in sentence
        for name, sentence in zip(("celery.pidbox", "celeryev/worker.*", "celeryev/*"), told, strict=True)
    ] == [True] * 3
