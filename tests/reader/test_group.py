"""The consumer group's scripts on a real Redis: what they take, what they leave, and what counts as a delivery."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from dbstorage.reader.group import (
    AT_ONCE,
    RELEASED_IDLE,
    ConsumerGroup,
    accepted,
    parse_claim,
    parse_entries,
    parse_pending,
    parse_read,
)
from dbstorage.reader.messages import PendingEntry
from dbstorage.settings import load_settings
from tests.service.raw_redis import RawRedis

LEASE = "lease"
TOKEN = "ours"
ENTRIES = 5


@pytest.fixture
def redis(redis_url: str) -> Iterator[RawRedis]:
    with closing(RawRedis(redis_url)) as redis:
        redis.client.set(LEASE, TOKEN)
        yield redis


def consumer(name: str) -> ConsumerGroup:
    settings = load_settings({"REDIS_URL": "redis://localhost", "DATABASE_URL": "postgresql://user@localhost/database"})
    return ConsumerGroup(settings, name)


ours, theirs, third = consumer("ours"), consumer("theirs"), consumer("third")


def given_out(redis: RawRedis, to: ConsumerGroup, count: int = ENTRIES) -> list[str]:
    """Add entries and have one consumer read them."""
    redis(*ours.create())
    ids = [redis.client.xadd(ours.stream, {"message": str(number)}).decode() for number in range(count)]  # type: ignore[union-attr]
    assert [entry_id for entry_id, _ in parse_read(redis(*to.read_new(count, 1)))] == ids
    return ids


def pending_of(redis: Redis, of: ConsumerGroup) -> list[tuple[str, int]]:
    """The ids and deliveries of what is pending for a consumer."""
    lines: Any = redis.xpending_range(of.stream, of.name, "-", "+", 10_000, of.consumer)
    return [(line["message_id"].decode(), line["times_delivered"]) for line in lines]


def claim(redis: RawRedis, token: str = TOKEN, minimum_idle: int = 0) -> Any:
    return parse_claim(redis(*ours.claim(LEASE, token, minimum_idle)))


def test_a_leader_takes_over_what_all_others_have_and_that_is_no_delivery(redis: RawRedis) -> None:
    ids = given_out(redis, theirs) + given_out(redis, third)
    assert claim(redis) == (True, False)
    assert pending_of(redis.client, ours) == [(entry_id, 1) for entry_id in ids]


def test_whoever_has_not_the_lease_takes_nothing(redis: RawRedis) -> None:
    ids = given_out(redis, theirs)
    assert claim(redis, token="another's") == (False, False)
    redis.client.delete(LEASE)
    assert claim(redis) == (False, False)
    assert pending_of(redis.client, theirs) == [(entry_id, 1) for entry_id in ids]


def test_more_than_one_command_holds_is_taken_over_in_several(redis: RawRedis) -> None:
    given_out(redis, theirs, AT_ONCE + 1)
    assert claim(redis) == (True, True)
    assert len(pending_of(redis.client, ours)) == AT_ONCE
    assert claim(redis) == (True, False)
    assert len(pending_of(redis.client, ours)) == AT_ONCE + 1


def test_in_parallel_order_only_what_is_idle_is_taken_over(redis: RawRedis) -> None:
    given_out(redis, theirs)
    assert claim(redis, token="", minimum_idle=60_000) == (True, False)
    assert pending_of(redis.client, ours) == []


def test_released_entries_can_be_taken_at_once_and_their_reading_counts_as_no_delivery(redis: RawRedis) -> None:
    ids = given_out(redis, theirs)
    assert redis(*theirs.release(ids[1:3])) == b"OK"
    assert pending_of(redis.client, theirs) == [(ids[0], 1), (ids[1], 0), (ids[2], 0), (ids[3], 1), (ids[4], 1)]
    assert claim(redis, token="", minimum_idle=RELEASED_IDLE) == (True, False)
    assert pending_of(redis.client, ours) == [(ids[1], 0), (ids[2], 0)]


def test_what_another_has_meanwhile_is_not_released(redis: RawRedis) -> None:
    ids = given_out(redis, theirs)
    claim(redis)
    redis(*theirs.release([*ids, "9-9"]))
    assert pending_of(redis.client, ours) == [(entry_id, 1) for entry_id in ids]


def test_our_pending_entries_are_listed_behind_a_given_one(redis: RawRedis) -> None:
    ids = given_out(redis, ours)
    given_out(redis, theirs)
    assert parse_pending(redis(*ours.list_pending(""))) == [PendingEntry(entry_id, 1) for entry_id in ids]
    assert parse_pending(redis(*ours.list_pending(ids[2]))) == [PendingEntry(entry_id, 1) for entry_id in ids[3:]]


def test_what_is_fetched_counts_as_delivered_and_what_is_gone_does_not_come(redis: RawRedis) -> None:
    ids = given_out(redis, ours)
    redis.client.xdel(ours.stream, ids[0])
    redis.client.xack(ours.stream, ours.name, ids[1])
    assert [entry_id for entry_id, _ in parse_entries(redis(*ours.fetch(ids)))] == ids[2:]
    assert pending_of(redis.client, ours) == [(entry_id, 2) for entry_id in ids[2:]]


def test_entries_that_are_gone_are_told_from_those_that_were_acknowledged(redis: RawRedis) -> None:
    ids = given_out(redis, ours)
    redis.client.xdel(ours.stream, ids[0])
    redis.client.xack(ours.stream, ours.name, ids[1])
    assert redis(*ours.not_there(ids)) == [ids[0].encode()]


def test_renewing_a_claim_delivers_nothing(redis: RawRedis) -> None:
    ids = given_out(redis, ours)
    redis(*ours.renew(ids))
    assert pending_of(redis.client, ours) == [(entry_id, 1) for entry_id in ids]


def test_of_an_entry_that_is_too_large_the_beginning_and_the_length_are_read(redis: RawRedis) -> None:
    redis(*ours.create())
    entry_id = redis.client.xadd(ours.stream, {"message": "x" * 100_000, "tail": "short"}).decode()  # type: ignore[union-attr]
    redis(*ours.read_new(1, 1))
    size, fields = redis(*ours.beginning(entry_id, 10))
    assert size == len("message") + 100_000 + len("tail") + len("short")
    assert fields == [b"message", b"x" * 10, b"tail", b"short"]
    assert pending_of(redis.client, ours) == [(entry_id, 2)]
    redis.client.xdel(ours.stream, entry_id)
    assert redis(*ours.beginning(entry_id, 10)) == []


def test_a_consumer_with_pending_entries_is_not_removed(redis: RawRedis) -> None:
    ids = given_out(redis, theirs)
    assert redis(*ours.remove_consumer(theirs.consumer)) == 0
    redis.client.xack(ours.stream, ours.name, *ids)
    redis(*ours.remove_consumer(theirs.consumer))
    assert redis.client.xinfo_consumers(ours.stream, ours.name) == []


def test_a_refusal_is_told_as_an_error(redis: RawRedis) -> None:
    refusal = redis(*ours.read_new(1, 1))
    assert isinstance(refusal, ResponseError)
    with pytest.raises(Exception, match="NOGROUP"):
        accepted(refusal)
