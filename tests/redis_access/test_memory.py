from typing import Any

import pytest
import redis

from dbstorage.redis_access.memory import full_redis, why_full

MEBIBYTE = 2**20


@pytest.mark.parametrize(
    ("memory", "full"),
    [
        ({}, False),
        ({"maxmemory": 0, "used_memory": 10 * MEBIBYTE}, False),
        ({"maxmemory": 10 * MEBIBYTE, "used_memory": 10 * MEBIBYTE}, False),
        ({"maxmemory": 10 * MEBIBYTE, "used_memory": 10 * MEBIBYTE + 1}, True),
        ({"maxmemory": 10, "used_memory": 12, "mem_not_counted_for_evict": 2}, False),
        ({"maxmemory": 10, "used_memory": 13, "mem_not_counted_for_evict": 2}, True),
    ],
)
def test_redis_is_full_beyond_its_limit(memory: dict[str, Any], full: bool) -> None:
    assert (why_full(memory) is not None) == full


def test_the_sentence_says_how_full_and_what_mends_it() -> None:
    sentence = why_full({"maxmemory": 2 * MEBIBYTE, "used_memory": 3 * MEBIBYTE}) or ""
    assert sentence.startswith("Redis is full: 3.0 MiB are used, and maxmemory is 2.0 MiB.")
    assert "Raise maxmemory" in sentence


def test_a_redis_that_refuses_writes_for_its_limit_is_full(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert full_redis(client) is None
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(redis.ResponseError, match="maxmemory"):
                client.set("key", "value")
            assert "Redis is full" in (full_redis(client) or "")
        finally:
            client.config_set("maxmemory", 0)


def test_a_redis_that_does_not_tell_is_not_called_full(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.execute_command("ACL", "SETUSER", "default", "-info")
        try:
            assert full_redis(client) is None
        finally:
            client.execute_command("ACL", "SETUSER", "default", "+info")
