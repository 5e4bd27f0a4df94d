"""How starts without an end are counted, by a real Redis that is restarted."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dbstorage.batch.alone import begin_alone, end_alone
from dbstorage.embedded.redis import EmbeddedRedis
from dbstorage.errors import RedisUnavailableError
from dbstorage.redis_access.client import connect_redis
from dbstorage.settings import Settings, load_settings


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def settings(server: EmbeddedRedis) -> Settings:
    return load_settings({"REDIS_URL": server.url, "DATABASE_URL": "postgres://localhost/unused"})


def begin(settings: Settings, name: str = "entry") -> int:
    with connect_redis(settings.redis_url) as redis:
        return begin_alone(redis, settings, name)


def end(settings: Settings, name: str = "entry") -> None:
    with connect_redis(settings.redis_url) as redis:
        end_alone(redis, settings, name)


def test_deaths_are_counted_until_a_run_comes_to_its_end(settings: Settings) -> None:
    assert [begin(settings) for _ in range(3)] == [0, 1, 2]
    assert begin(settings, "another") == 0
    end(settings)
    assert begin(settings) == 0


def test_deaths_that_a_restart_of_redis_explains_do_not_count(server: EmbeddedRedis, settings: Settings) -> None:
    assert [begin(settings) for _ in range(3)] == [0, 1, 2]
    server.stop()
    server.start()
    assert [begin(settings) for _ in range(2)] == [0, 1]


def test_an_end_that_redis_was_not_told_of_is_no_death(settings: Settings) -> None:
    begin(settings)
    away = replace(settings, redis_url="redis://127.0.0.1:1/0")
    with pytest.raises(RedisUnavailableError):
        end(away)
    assert begin(settings) == 0


def test_runs_of_a_suspect_are_counted_in_a_full_redis_too(settings: Settings) -> None:
    with connect_redis(settings.redis_url) as redis:
        redis.config_set("maxmemory", 1)
    assert [begin(settings) for _ in range(2)] == [0, 1]
