"""The connection that the event loop reads, on a real Redis."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from dbstorage.reader.connection import TURN_BYTES, HubConnection
from tests.reader.loop import Loop

MEGABYTE = 1024 * 1024


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def lost() -> list[str]:
    """Why the connection was lost."""
    return []


@pytest.fixture
def connection(redis_url: str, loop: Loop, lost: list[str]) -> Iterator[HubConnection]:
    connection = HubConnection(redis_url, loop, lost.append)
    connection.connect()
    yield connection
    connection.close()


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with closing(Redis.from_url(redis_url, protocol=2)) as redis:
        yield redis


def test_replies_come_in_the_order_of_the_commands(connection: HubConnection, loop: Loop) -> None:
    replies: list[Any] = []
    for word in ("one", "two"):
        connection.send(replies.append, "ECHO", word)
    connection.send(replies.append, "NONSENSE")
    assert connection.waiting == 3
    loop.run_until(lambda: len(replies) == 3, "the replies")
    assert replies[:2] == [b"one", b"two"]
    assert isinstance(replies[2], ResponseError)
    assert connection.silent_for == 0


def test_a_large_reply_is_taken_in_pieces_and_the_loop_turns_between_them(
    connection: HubConnection, redis: Redis, loop: Loop
) -> None:
    redis.set("large", b"x" * (4 * TURN_BYTES))
    replies: list[bytes] = []
    connection.send(replies.append, "GET", "large")
    loop.run_until(lambda: replies, "the reply")
    assert replies == [b"x" * (4 * TURN_BYTES)]
    assert loop.turns >= 4
    assert not connection.receiving


def test_a_reply_that_is_too_large_is_given_up_before_it_is_there(
    connection: HubConnection, redis: Redis, loop: Loop, lost: list[str]
) -> None:
    redis.set("large", b"x" * (8 * MEGABYTE))
    replies: list[Any] = []
    told: list[str] = []
    connection.send(
        replies.append, "GET", "large", most_bytes=MEGABYTE, on_too_large=lambda: told.append("too large")
    )  # fmt: skip
    loop.run_until(lambda: lost, "the connection to be given up")
    assert told == ["too large"]
    assert (replies, connection.connected) == ([], False)


def test_a_limit_is_that_of_one_reply(connection: HubConnection, redis: Redis, loop: Loop, lost: list[str]) -> None:
    redis.set("half", b"x" * (MEGABYTE // 2))
    replies: list[bytes] = []
    for _ in range(4):
        connection.send(replies.append, "GET", "half", most_bytes=MEGABYTE, on_too_large=lambda: None)
    loop.run_until(lambda: len(replies) == 4, "the replies")
    assert lost == []


def test_one_that_has_ended_takes_nothing_any_more(connection: HubConnection, redis: Redis, loop: Loop) -> None:
    replies: list[Any] = []
    ended: list[str] = []
    connection.send(replies.append, "BLPOP", "list", 0)
    connection.end(lambda: ended.append("ended"))
    loop.run_until(lambda: ended, "Redis to close its side")
    redis.rpush("list", "for another")
    assert redis.llen("list") == 1
    assert replies == []


def test_ending_one_that_is_closed_comes_to_its_end_at_once(connection: HubConnection) -> None:
    ended: list[str] = []
    connection.close()
    connection.end(lambda: ended.append("ended"))
    assert ended == ["ended"]


def test_a_connection_that_redis_closes_is_lost_once(
    connection: HubConnection, redis: Redis, loop: Loop, lost: list[str]
) -> None:
    connection.send(lambda _: None, "BLPOP", "list", 0)
    redis.client_kill_filter(_type="normal", skipme=True)
    loop.run_until(lambda: lost, "the loss to be noticed")
    loop.turn()
    assert len(lost) == 1


def test_a_callback_that_raises_harms_no_other(connection: HubConnection, loop: Loop) -> None:
    replies: list[Any] = []

    def fail(_: Any) -> None:
        raise ValueError("a bug")

    connection.send(fail, "PING")
    connection.send(replies.append, "PING")
    loop.run_until(lambda: replies, "the second reply")
    assert replies == [b"PONG"]
