"""The script that acknowledges a question and answers it, run by a real Redis."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from dbstorage.batch.answers import Answered, Told, acknowledge_and_answer, answer_call
from dbstorage.batch.outages import outage_of
from dbstorage.errors import RedisUnavailableError
from dbstorage.redis_access.client import connect_redis
from dbstorage.settings import Settings, load_settings
from dbstorage.storage.outcome import Outage
from tests.service.platform import GROUP, RESPONSES, STREAM

FIELDS = [b"message", b"the answer"]
#: Bytes of memory with which Redis refuses whatever needs more.
FULL = 1


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return load_settings(
        {"REDIS_URL": redis_url, "DATABASE_URL": "postgres://localhost/unused", "RESPONSE_MAXLEN": "10"}
    )


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    with connect_redis(settings.redis_url) as client:
        client.xgroup_create(STREAM, GROUP, "0", mkstream=True)
        yield client
        client.config_set("maxmemory", 0)


def delivered(redis: Any, count: int = 1, entry_id: str = "*") -> list[str]:
    """Questions that a reader has in hand."""
    ids = [redis.xadd(STREAM, {"message": "a question"}, id=entry_id).decode() for _ in range(count)]
    redis.xreadgroup(GROUP, "worker", {STREAM: ">"})
    return ids


def answer(redis: Redis, settings: Settings, *entry_ids: str, first: tuple[str, ...] = ()) -> list[Told]:
    answers = [Answered(entry_id, FIELDS) for entry_id in entry_ids]
    told, refusal = acknowledge_and_answer(redis, settings, first, answers)
    assert refusal == ""
    return told


def pending(redis: Any) -> int:
    return int(redis.xpending(STREAM, GROUP)["pending"])


def test_an_answer_is_written_and_its_question_acknowledged(redis: Redis, settings: Settings) -> None:
    [write, *questions] = delivered(redis, 3)
    assert answer(redis, settings, *questions, first=(write,)) == [Told.ANSWERED, Told.ANSWERED]
    assert redis.xlen(RESPONSES) == 2
    assert pending(redis) == 0


def test_a_question_that_is_acknowledged_already_is_not_answered_again(redis: Redis, settings: Settings) -> None:
    questions = delivered(redis, 2)
    answer(redis, settings, questions[0])
    assert answer(redis, settings, *questions) == [Told.BEFORE, Told.ANSWERED]
    assert redis.xlen(RESPONSES) == 2


def test_a_question_that_is_too_old_is_acknowledged_without_an_answer(redis: Redis, settings: Settings) -> None:
    long_ago = round((time.time() - settings.query_ttl - 60) * 1000)
    questions = delivered(redis, entry_id=f"{long_ago}-0")
    assert answer(redis, settings, *questions) == [Told.TOO_LATE]
    assert redis.xlen(RESPONSES) == 0
    assert pending(redis) == 0


def test_a_full_redis_takes_acknowledgements_and_answers(redis: Redis, settings: Settings) -> None:
    [write, *questions] = delivered(redis, 3)
    redis.config_set("maxmemory", FULL)
    assert answer(redis, settings, *questions, first=(write,)) == [Told.ANSWERED, Told.ANSWERED]
    assert redis.xlen(RESPONSES) == 2
    assert pending(redis) == 0


def test_the_response_stream_is_trimmed_on_every_answer(redis: Redis, settings: Settings) -> None:
    for _ in range(3):
        answer(redis, settings, *delivered(redis, 500))
    # Redis trims whole nodes of a hundred entries.
    assert redis.xlen(RESPONSES) <= 10 + 100 + 1


@pytest.mark.parametrize("sizes", [[300_000] * 100, [2_000] * 1_000, [500] * 700 + [200_000] * 30 + [9_000] * 300])
def test_large_answers_are_kept_within_their_bytes(redis: Any, settings: Settings, sizes: list[int]) -> None:
    bounded = replace(settings, response_maxlen=1_000, response_maxbytes=1_000_000)
    for number, size in enumerate(sizes):
        fields = [b"message", b"x" * size]
        if number % 2:
            answer_call(redis, bounded, fields)
        else:
            [question] = delivered(redis)
            assert acknowledge_and_answer(redis, bounded, (), [Answered(question, fields)]) == ([Told.ANSWERED], "")
        if not number % 20:
            assert redis.memory_usage(RESPONSES, samples=0) <= 1_500_000
    assert redis.memory_usage(RESPONSES, samples=0) <= 1_500_000
    assert redis.xlen(RESPONSES) >= 3


def test_an_answer_that_is_larger_than_all_may_be_is_kept_alone(redis: Any, settings: Settings) -> None:
    bounded = replace(settings, response_maxbytes=10_000)
    answer(redis, bounded, *delivered(redis, 5))
    answer_call(redis, bounded, [b"message", b"x" * 50_000])
    assert [fields[b"message"] for _, fields in redis.xrange(RESPONSES)] == [b"x" * 50_000]


def test_small_answers_are_kept_whatever_their_bytes_are_bound_to(redis: Any, settings: Settings) -> None:
    for _ in range(5):
        answer_call(redis, settings, FIELDS)
    assert redis.xlen(RESPONSES) == 5


def test_without_the_right_to_measure_the_stream_answers_go_out(redis: Any, settings: Settings) -> None:
    redis.acl_setuser("blind", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-memory|usage"])
    redis.execute_command("AUTH", "blind", "any")
    bounded = replace(settings, response_maxbytes=1_024)
    answer_call(redis, bounded, [b"message", b"x" * 2_000])
    answer_call(redis, bounded, [b"message", b"x" * 2_000])
    assert redis.xlen(RESPONSES) == 2


def test_a_question_stays_pending_where_the_answer_is_refused_and_writes_are_acknowledged(
    redis: Redis, settings: Settings
) -> None:
    [write, *questions] = delivered(redis, 3)
    redis.set(RESPONSES, "not a stream")
    answers = [Answered(entry_id, FIELDS) for entry_id in questions]
    told, refusal = acknowledge_and_answer(redis, settings, (write,), answers)
    assert told == [Told.REFUSED, Told.REFUSED]
    complaint = "WRONGTYPE Operation against a key holding the wrong kind of value"
    assert refusal == f"Redis refuses answers on the stream {RESPONSES}: {complaint}"
    assert pending(redis) == 2
    redis.delete(RESPONSES)
    assert answer(redis, settings, *questions) == [Told.ANSWERED, Told.ANSWERED]


def test_a_question_that_is_too_old_is_acknowledged_whatever_is_in_the_place_of_the_responses(
    redis: Redis, settings: Settings
) -> None:
    questions = delivered(redis, entry_id="1-0")
    redis.set(RESPONSES, "not a stream")
    assert answer(redis, settings, *questions) == [Told.TOO_LATE]
    assert pending(redis) == 0


def test_an_answer_that_fails_behind_its_acknowledgement_is_told_to_be_lost(redis: Any, settings: Settings) -> None:
    redis.xadd(RESPONSES, {"message": "the last"}, id=f"{2**64 - 1}-{2**64 - 1}")
    [question] = delivered(redis)
    told, refusal = acknowledge_and_answer(redis, settings, (), [Answered(question, FIELDS)])
    assert told == [Told.LOST]
    assert "exhausted the last possible ID" in refusal
    assert "script" not in refusal


def test_a_redis_that_refuses_an_acknowledgement_is_not_taken_to_be_away(redis: Any, settings: Settings) -> None:
    [write] = delivered(redis)
    redis.config_set("min-replicas-to-write", 1)
    try:
        with pytest.raises(RedisUnavailableError, match="an acknowledgement: NOREPLICAS") as raised:
            answer(redis, settings, first=(write,))
    finally:
        redis.config_set("min-replicas-to-write", 0)
    assert outage_of(raised.value) is Outage.REFUSED
