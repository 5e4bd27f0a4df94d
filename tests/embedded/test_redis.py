import os
from pathlib import Path

import psutil
import pytest
import redis

from dbstorage.embedded.redis import EmbeddedRedis
from dbstorage.errors import EmbeddedServerError


@pytest.fixture
def server(tmp_path: Path):
    server = EmbeddedRedis(tmp_path / "redis")
    server.start()
    yield server
    server.stop()


def test_entries_survive_a_restart_and_the_url_stays(server: EmbeddedRedis):
    url = server.url
    with redis.Redis.from_url(url) as client:
        client.xadd("stream", {"message": "kept"})
    server.stop()
    assert server.poll() is not None
    server.start()
    assert server.url == url
    with redis.Redis.from_url(url, decode_responses=True) as client:
        assert [fields for _, fields in client.xrange("stream")] == [{"message": "kept"}]


def test_what_was_written_to_disk_survives_a_kill(server: EmbeddedRedis):
    with redis.Redis.from_url(server.url) as client:
        client.set("key", "kept")
        # The file is written each second; asking for a rewrite is a way to know that it happened.
        client.config_set("appendfsync", "always")
        client.set("key", "kept too")
    server.kill()
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.get("key") == b"kept too"
        assert client.config_get("appendfsync")["appendfsync"] == "everysec"


def test_data_that_is_thrown_away_is_not_written(redis_server: EmbeddedRedis):
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.config_get("appendonly") == {"appendonly": "no"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes its user")
def test_root_starts_it_as_somebody_else(server: EmbeddedRedis):
    assert 0 not in psutil.Process(server.pid).uids()


def test_without_any_redis_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("dbstorage.embedded.redis.find_spec", lambda name: None)
    with pytest.raises(EmbeddedServerError, match="or a package such as valkey-server or redis-server"):
        EmbeddedRedis(tmp_path / "redis").start()


def test_a_server_on_the_path_serves_where_the_wheel_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_server: EmbeddedRedis
):
    program = Path(psutil.Process(redis_server.pid).exe())
    (tmp_path / "valkey-server").symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("dbstorage.embedded.redis.find_spec", lambda name: None)
    server = EmbeddedRedis(tmp_path / "redis", durable=False)
    server.start()
    try:
        assert psutil.Process(server.pid).cmdline()[0].startswith(str(tmp_path / "valkey-server"))
    finally:
        server.stop()


def test_before_the_first_start_there_is_no_url(tmp_path: Path):
    with pytest.raises(EmbeddedServerError, match="Redis has not been started yet"):
        _ = EmbeddedRedis(tmp_path).url


def test_data_of_an_older_redis_is_taken_over(tmp_path: Path):
    # Redis before 7 kept one file of commands.
    commands = [("SELECT", "0"), ("SET", "key", "kept")]
    words = ("".join(f"${len(word)}\r\n{word}\r\n" for word in command) for command in commands)
    text = "".join(f"*{len(command)}\r\n{line}" for command, line in zip(commands, words, strict=True))
    (tmp_path / "appendonly.aof").write_text(text, newline="")
    server = EmbeddedRedis(tmp_path)
    server.start()
    try:
        with redis.Redis.from_url(server.url) as client:
            assert client.get("key") == b"kept"
    finally:
        server.stop()


def test_a_server_that_is_busy_with_its_first_append_only_file_is_stopped_too(tmp_path: Path):
    server = EmbeddedRedis(tmp_path / "redis", durable=False)
    server.start()
    with redis.Redis.from_url(server.url) as client:
        client.mset({f"key{i}": "x" * 1000 for i in range(20000)})
        client.config_set("rdb-key-save-delay", 100)  # microseconds for each key: two seconds for all
        client.config_set("appendonly", "yes")
    server.stop()
    assert server.poll() == 0
