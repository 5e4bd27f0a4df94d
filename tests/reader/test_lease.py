"""The script that takes and renews keys that expire, run by a real Redis."""

from collections.abc import Iterator
from typing import Any

import pytest

from dbstorage.reader.lease import LEASE_MILLISECONDS, give_up, hold, parse_held
from dbstorage.redis_access.client import connect_redis
from dbstorage.redis_access.holder import KeyHolder, Place

KEY = "dbstorage:test:lease"
OURS, OTHER = (KeyHolder(name, Place("host", "boot", "pid:[1]"), 17, "nonce").token for name in ("ours", "other"))
#: Bytes of memory with which Redis refuses whatever needs more.
FULL = 1


@pytest.fixture
def redis(redis_url: str) -> Iterator[Any]:
    with connect_redis(redis_url) as client:
        yield client
        client.config_set("maxmemory", 0)


def held_by(redis: Any, token: str = OURS, replaceable: str = "") -> str:
    holder, seconds = parse_held(redis.execute_command(*hold(KEY, token, replaceable)))
    assert 0 < redis.pttl(KEY) <= seconds * 1000 <= LEASE_MILLISECONDS
    return holder.decode()


def test_a_free_key_is_taken_until_it_expires(redis: Any) -> None:
    assert held_by(redis) == OURS
    assert 0 < redis.pttl(KEY) <= LEASE_MILLISECONDS


def test_the_holder_renews_its_key(redis: Any) -> None:
    redis.set(KEY, OURS, px=100)
    assert held_by(redis) == OURS
    assert redis.pttl(KEY) > 100


def test_another_holder_keeps_the_key_and_its_time(redis: Any) -> None:
    redis.set(KEY, OTHER, px=1_000)
    assert held_by(redis) == OTHER
    assert redis.pttl(KEY) <= 1_000


def test_a_dead_holder_is_replaced(redis: Any) -> None:
    redis.set(KEY, OTHER, px=1_000)
    assert held_by(redis, OURS, replaceable=OTHER) == OURS


@pytest.mark.parametrize("token", [OTHER.encode(), b"another program's", b"\xff\xfe\x00", b'{"node": "\xff"}'])
@pytest.mark.parametrize("expires", [None, 3_600_000], ids=["never expires", "expires in an hour"])
def test_nobody_holds_a_key_longer_than_we_would(redis: Any, token: bytes, expires: int | None) -> None:
    redis.set(KEY, token, px=expires)
    assert held_by(redis) in (OTHER, "")
    assert 0 < redis.pttl(KEY) <= LEASE_MILLISECONDS


def test_a_key_without_a_holder_is_taken(redis: Any) -> None:
    redis.set(KEY, "")
    assert held_by(redis) == OURS


def test_a_key_of_another_type_is_taken_over(redis: Any) -> None:
    redis.lpush(KEY, "a list")
    assert redis.execute_command(*give_up(KEY, OURS)) == 0
    assert held_by(redis) == OURS


def test_a_full_redis_lets_a_key_be_taken_renewed_and_given_up(redis: Any) -> None:
    redis.config_set("maxmemory", FULL)
    assert held_by(redis) == OURS
    assert held_by(redis) == OURS
    assert held_by(redis, OTHER, replaceable=OURS) == OTHER
    assert redis.execute_command(*give_up(KEY, OTHER)) == 1
    assert not redis.exists(KEY)


def test_only_the_holder_gives_a_key_up(redis: Any) -> None:
    redis.set(KEY, OTHER)
    assert redis.execute_command(*give_up(KEY, OURS)) == 0
    assert redis.get(KEY) == OTHER.encode()
