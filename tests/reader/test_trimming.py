"""Finished entries are trimmed from the stream, by their number or by their age."""

import time
from datetime import timedelta
from typing import Any

import pytest
import redis

from dbstorage.reader.group import ConsumerGroup
from dbstorage.settings import load_settings

DAY = 86_400_000
#: Redis trims blocks of a hundred entries.
BLOCK = 100


@pytest.fixture
def client(redis_url: str) -> Any:
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        yield client


@pytest.fixture
def group(redis_url: str, client: Any) -> ConsumerGroup:
    """A group that has read and acknowledged entries of ten days, a block for each."""
    settings = load_settings({"REDIS_URL": redis_url, "DATABASE_URL": "postgres://localhost/unused"})
    group = ConsumerGroup(settings, "worker")
    client.execute_command(*group.create())
    now = int(time.time() * 1000)
    for day in range(10, 0, -1):
        for number in range(BLOCK):
            client.xadd(group.stream, {"message": "x"}, id=f"{now - day * DAY + 3_600_000}-{number}")
    read = client.xreadgroup(group.name, "worker", {group.stream: ">"}, count=10 * BLOCK)
    client.xack(group.stream, group.name, *(entry_id for entry_id, _ in read[0][1]))
    return group


def test_what_is_older_than_the_time_goes(client: Any, group: ConsumerGroup):
    assert client.execute_command(*group.trim(timedelta(days=3))) == 7 * BLOCK
    assert client.xlen(group.stream) == 3 * BLOCK


def test_what_is_beyond_the_number_goes(client: Any, group: ConsumerGroup):
    client.execute_command(*group.trim(4 * BLOCK))
    assert client.xlen(group.stream) == 4 * BLOCK


def test_nothing_goes_that_somebody_has_still_to_acknowledge(client: Any, group: ConsumerGroup):
    client.xgroup_create(group.stream, "auditor", "0")
    assert client.execute_command(*group.trim(timedelta(days=3))) == 0
    assert client.execute_command(*group.trim(0)) == 0
