import json

import pytest
import redis
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from dbstorage.cli import main
from dbstorage.operating.pause import UNREADABLE, parse_pause, pause_service, read_pause, resume_service
from dbstorage.operating.verdict import Pause
from dbstorage.redis_access.keys import paused_key
from dbstorage.settings import load_settings
from tests.service.platform import Platform


def test_a_pause_keeps_its_beginning_while_its_reason_changes(redis_url: str):
    service = load_settings({"REDIS_URL": redis_url, "DATABASE_URL": "postgresql://localhost/db"})
    with redis.Redis.from_url(redis_url) as client:
        assert read_pause(client, service) is None
        assert resume_service(client, service) is None
        first = pause_service(client, service, "a new disk", "joe")
        second = pause_service(client, service, " ", "jane")
        assert second == Pause("no reason given", "jane", first.since) == read_pause(client, service)
        assert client.ttl(paused_key(service)) == -1
        assert resume_service(client, service) == second
        assert read_pause(client, service) is None


@settings(deadline=None)
@given(st.none() | st.binary() | st.builds(lambda value: json.dumps(value).encode(), st.dictionaries(
    st.sampled_from(["reason", "who", "since"]), st.none() | st.text() | st.floats() | st.integers(),
)))  # fmt: skip
def test_whatever_stands_in_the_key_is_a_pause(value: bytes | None):
    assert (parse_pause(value) is None) == (value is None)


def test_what_cannot_be_read_pauses_too_and_can_be_ended(redis_url: str):
    service = load_settings({"REDIS_URL": redis_url, "DATABASE_URL": "postgresql://localhost/db"})
    with redis.Redis.from_url(redis_url) as client:
        client.set(paused_key(service), "maintenance")
        assert read_pause(client, service) == resume_service(client, service) == UNREADABLE
        assert read_pause(client, service) is None


def test_the_commands_pause_and_resume_and_leave_a_trail(platform: Platform, monkeypatch: pytest.MonkeyPatch):
    for name, value in platform.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SUDO_USER", "joe")
    run = CliRunner().invoke
    paused = run(main, ["pause", "--reason", "a new disk"])
    assert (paused.exit_code, paused.stdout) == (0, "Paused: a new disk. `dbstorage resume` lets it go on.\n")
    status = run(main, ["status"])
    assert status.exit_code == 1
    assert " by joe: a new disk" in status.stdout.splitlines()[0]
    resumed = run(main, ["resume", "--json"])
    assert json.loads(resumed.stdout)["ended"]["who"] == "joe"
    again = run(main, ["resume"])
    assert (again.exit_code, again.stderr) == (1, "The service is not paused.\n")
    rows = platform.query("SELECT who, what, reason FROM dbstorage.operations ORDER BY id")
    assert rows == [("joe", "pause", "a new disk"), ("joe", "resume", None)]


def test_a_service_whose_database_is_away_can_be_paused(redis_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("DATABASE_URL", "postgresql://joe@127.0.0.1:1/nowhere")
    result = CliRunner().invoke(main, ["pause"])
    assert result.exit_code == 0
    assert result.stderr.startswith("It is not in the list of operations: The database cannot be used: ")


def test_without_redis_nothing_is_paused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://joe@127.0.0.1:1/nowhere")
    for command in ("pause", "resume"):
        result = CliRunner().invoke(main, [command])
        assert result.exit_code == 3
        assert result.stderr.startswith("Redis cannot be used: ")
