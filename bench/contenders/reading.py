"""Reading the command stream as every contender does that does not bring a reader of its own."""

from collections.abc import Iterator
from typing import Any

from redis import Redis

from bench.servers import GROUP, STREAM

#: Id and fields.
Entry = tuple[bytes, dict[bytes, bytes]]


def batches(redis: Redis, consumer: str, count: int) -> Iterator[list[Entry]]:
    """Batches of at most `count` new entries, without end."""
    while True:
        replies: Any = redis.xreadgroup(GROUP, consumer, {STREAM: ">"}, count=count, block=500)
        for _stream, entries in replies:
            yield entries


def acknowledge(redis: Redis, entries: list[Entry]) -> None:
    """Acknowledge the entries of a batch."""
    redis.xack(STREAM, GROUP, *(entry_id for entry_id, _fields in entries))
