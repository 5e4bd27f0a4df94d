"""Every command and health check of the compose file, run for real beside embedded servers."""

import base64
import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
import redis

from dbstorage.embedded.ports import choose_port
from dbstorage.embedded.postgres import EmbeddedPostgres
from dbstorage.embedded.redis import EmbeddedRedis, server_program
from tests.deploy.checkers import ROOT, SEARCH_PATH
from tests.deploy.compose import PASSWORDS, load, seconds
from tests.waiting import wait_until


class Service:
    """A service of the compose file on this machine: its addresses and ports replaced, everything else as written."""

    def __init__(self, name: str, replaced: dict[str, str]) -> None:
        self.definition: dict[str, Any] = load(PASSWORDS)["services"][name]
        self.environment = {
            "PATH": os.pathsep.join([str(Path(server_program()).parent), SEARCH_PATH]),
            "LC_ALL": "C.UTF-8",
            **{key: str(value) for key, value in self.definition["environment"].items()},
            **replaced,
        }

    @property
    def command(self) -> list[str]:
        return [str(word) for word in self.definition["command"]]

    @contextmanager
    def running(self, *more: str, directory: Path = ROOT) -> Iterator[subprocess.Popen[bytes]]:
        """The command, until the end of the block."""
        program = shutil.which(self.command[0], path=self.environment["PATH"])
        assert program, self.command
        process = subprocess.Popen([program, *self.command[1:], *more], env=self.environment, cwd=directory)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def is_healthy(self) -> bool:
        """What Docker would find."""
        kind, *words = self.definition["healthcheck"]["test"]
        command = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
        program = shutil.which(command[0], path=self.environment["PATH"])
        assert program, command
        done = subprocess.run(
            [program, *command[1:]],
            env=self.environment,
            capture_output=True,
            timeout=seconds(self.definition["healthcheck"]["timeout"]) + 10,
        )
        return done.returncode == 0


@pytest.fixture
def urls(redis_url: str, database_url: str) -> dict[str, str]:
    return {"REDIS_URL": redis_url, "DATABASE_URL": database_url}


def test_the_migration_brings_an_empty_database_up_to_date_and_may_run_again(
    redis_url: str, empty_database_url: str
) -> None:
    service = Service("db-migrate", {"REDIS_URL": redis_url, "DATABASE_URL": empty_database_url})
    for _ in range(2):
        with service.running() as process:
            assert process.wait(60) == 0
    with psycopg2.connect(empty_database_url) as connection, connection.cursor() as cursor:
        cursor.execute('SELECT count(*) FROM "Orders"')
        assert cursor.fetchone() == (0,)
        cursor.execute("""SELECT has_table_privilege('dbstorage_service', '"Orders"', 'INSERT'),
                                 has_table_privilege('dbstorage_flower', '"Orders"', 'INSERT')""")
        assert cursor.fetchone() == (True, False)


def test_the_worker_becomes_healthy_and_stops_within_its_grace_period(urls: dict[str, str]) -> None:
    service = Service("dbstorage", {**urls, "METRICS_PORT": str(choose_port())})
    assert not service.is_healthy()
    with service.running() as process:
        wait_until(service.is_healthy, "the worker to be healthy")
        process.send_signal(signal.SIGTERM)
        assert process.wait(seconds(service.definition["stop_grace_period"])) == 0
    assert not service.is_healthy()


def test_flower_becomes_healthy_and_asks_for_the_password(urls: dict[str, str]) -> None:
    port = choose_port()
    service = Service("flower", {**urls, "FLOWER_PORT": str(port)})
    with service.running():
        wait_until(service.is_healthy, "Flower to be healthy")
        assert status_of(port) == 401
        assert status_of(port, "operator:wrong") == 401
        assert status_of(port, PASSWORDS["FLOWER_BASIC_AUTH"]) == 200


def status_of(port: int, login: str = "") -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/")
    if login:
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_redis_keeps_what_it_is_given_and_asks_for_its_password(tmp_path: Path) -> None:
    port = choose_port()
    service = Service("redis", {})
    password = PASSWORDS["REDIS_PASSWORD"]
    client = redis.Redis(port=port, password=password)
    with service.running("--port", str(port), directory=tmp_path) as process:
        wait_until(lambda: answers(client), "Redis to answer")
        client.xadd("stream", {"message": "{}"})
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=port).ping()
        # Each part has a user of its own; the engine writes commands and reads answers, and no more.
        worker = redis.Redis(port=port, username="dbstorage", password=PASSWORDS["SERVICE_PASSWORD"])
        flower = redis.Redis(port=port, username="dbstorage-flower", password=PASSWORDS["FLOWER_PASSWORD"])
        engine = redis.Redis(port=port, username="engine", password=PASSWORDS["ENGINE_PASSWORD"])
        assert engine.xadd("exness:dbstorage-stream", {"message": "{}"})
        assert worker.xlen("exness:dbstorage-stream") == flower.xlen("exness:dbstorage-stream") == 1
        with pytest.raises(redis.ResponseError):
            engine.delete("exness:dbstorage-stream")
        with pytest.raises(redis.ResponseError):
            worker.flushall()
        with pytest.raises(redis.ResponseError):
            flower.xadd("exness:response-stream", {"message": "{}"})
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    with service.running("--port", str(port), directory=tmp_path):
        wait_until(lambda: answers(client), "Redis to answer again")
        assert client.xlen("stream") == 1


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def test_the_password_of_redis_stands_on_no_command_line(tmp_path: Path) -> None:
    port = choose_port()
    client = redis.Redis(port=port, password=PASSWORDS["REDIS_PASSWORD"])
    with Service("redis", {}).running("--port", str(port), directory=tmp_path) as process:
        wait_until(lambda: answers(client), "Redis to answer")
        assert PASSWORDS["REDIS_PASSWORD"] not in " ".join(psutil.Process(process.pid).cmdline())


def test_the_health_check_of_redis_tells_whether_it_answers(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "redis", durable=False)
    server.start()
    client_program = shutil.which("valkey-cli") or shutil.which("redis-cli")
    if client_program is None:
        pytest.skip("redis-cli is not installed: the Debian package redis-tools has it.")
    (tmp_path / "valkey-cli").symlink_to(client_program)
    with redis.Redis.from_url(server.url) as client:
        client.config_set("requirepass", PASSWORDS["REDIS_PASSWORD"])
    service = Service("redis", {})
    service.environment["PATH"] = os.pathsep.join([str(tmp_path), service.environment["PATH"]])
    assert service.definition["healthcheck"]["test"] == ["CMD-SHELL", "valkey-cli ping | grep --quiet PONG"]
    service.definition["healthcheck"]["test"][1] = f"valkey-cli -p {server.port} ping | grep --quiet PONG"
    assert service.is_healthy()
    server.kill()
    assert not service.is_healthy()


def test_the_health_check_of_postgres_tells_whether_it_answers(postgres_server: EmbeddedPostgres) -> None:
    programs = str(postgres_server._binaries(18))
    service = Service("postgres", {"PGPORT": str(postgres_server.port)})
    service.environment["PATH"] = programs
    assert service.is_healthy()
    service.environment["PGPORT"] = str(choose_port())
    assert not service.is_healthy()
