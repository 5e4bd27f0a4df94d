from pathlib import Path

import pytest
import redis
from redis.connection import Connection, SSLConnection
from redis.exceptions import RedisError

from dbstorage.embedded.redis import EmbeddedRedis
from dbstorage.redis_access.client import (
    ask_each_sentinel,
    connect_redis,
    connection_pool,
    find_master,
    redis_error,
)


def test_a_connection_costs_no_round_trips_but_its_own(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as observer:
        observer.config_resetstat()
        with connect_redis(redis_url) as client:
            client.ping()
        told = observer.info("commandstats")
    assert told["cmdstat_ping"]["calls"] == 1
    assert not [name for name in told if name.startswith(("cmdstat_client", "cmdstat_hello"))]


@pytest.mark.parametrize(("scheme", "kind"), [("redis", Connection), ("rediss", SSLConnection)])
def test_the_scheme_says_whether_with_tls(scheme: str, kind: type) -> None:
    connection = connection_pool(f"{scheme}://localhost:6379/3", 1.5).make_connection()
    assert isinstance(connection, kind)
    assert isinstance(connection, SSLConnection) == (scheme == "rediss")


def test_a_password_and_a_database_are_told(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as observer:
        observer.execute_command("ACL", "SETUSER", "ann", "on", ">secret", "~*", "+@all")
        try:
            url = redis_url.rpartition("@")[2].removeprefix("redis://").rpartition("/")[0]
            with connect_redis(f"redis://ann:secret@{url}/3") as client:
                client.set("key", "value")
            with redis.Redis.from_url(f"{redis_url.rpartition('/')[0]}/3") as other:
                assert other.get("key") == b"value"
            assert redis_error(f"redis://ann:wrong@{url}/3", 1.0) is not None
        finally:
            observer.execute_command("ACL", "DELUSER", "ann")


def test_silent_sentinels_are_told_of_in_one_sentence() -> None:
    with pytest.raises(RedisError) as caught:
        find_master("redis+sentinel://127.0.0.1:1,localhost:2/prices/0")
    assert str(caught.value) == (
        "No master found for 'prices': 127.0.0.1:1 does not answer, localhost:2 does not answer"
    )


def test_a_sentinel_that_refuses_the_password_is_not_said_to_be_silent(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "redis", durable=False)
    server.start()
    try:
        place = server.url.rpartition("@")[2].partition("/")[0]
        for password in ("", "?sentinel_password=wrong"):
            url = f"redis+sentinel://{place},127.0.0.1:1/prices/0{password}"
            with pytest.raises(RedisError) as caught:
                find_master(url)
            refuses = f"{place} refuses our sentinel_password"
            assert str(caught.value) == f"No master found for 'prices': {refuses}, 127.0.0.1:1 does not answer"
            assert ask_each_sentinel(url)[place] == (None, refuses)
    finally:
        server.kill()
