import time
from pathlib import Path

import pytest
import redis

from dbstorage.embedded.redis import EmbeddedRedis
from dbstorage.errors import RedisUnavailableError
from dbstorage.redis_access.client import connect_redis
from dbstorage.traffic.sending import Sent, send_commands
from dbstorage.wire.entry import Layout

STREAM = "commands"


def entries(url: str) -> list[tuple[str, dict[bytes, bytes]]]:
    with redis.Redis.from_url(url) as client:
        return [(entry_id.decode(), fields) for entry_id, fields in client.xrange(STREAM)]


def test_an_envelope_holds_the_line_as_it_stands(redis_url: str):
    lines = [b'{"function" : "createUser","z":1,"a":1.0}', b"", b"\xff no JSON"]
    sent = send_commands(connect_redis(redis_url), STREAM, lines)
    found = entries(redis_url)
    assert [fields for _, fields in found] == [{b"message": line} for line in lines]
    assert [entry_id for entry_id, _ in found] == sent.entry_ids


def test_a_flat_entry_has_a_field_for_each_key_that_has_a_value(redis_url: str):
    line = b'{"function":"getCloseOrders","message":{"userId":"ann"},"userId":null,"limit":5,"detail":true}'
    send_commands(connect_redis(redis_url), STREAM, [line], Layout.FLAT)
    [(_, fields)] = entries(redis_url)
    assert fields == {
        b"function": b"getCloseOrders",
        b"message": b'{"userId":"ann"}',
        b"limit": b"5",
        b"detail": b"true",
    }


def test_questions_are_remembered_with_their_request_ids(redis_url: str):
    lines = [
        b'{"function":"getCloseOrders","userId":"ann","requestId":"r"}',
        b'{"function":"getCloseOrders","userId":"ann","correlationId":17}',
        b'{"function":"getCloseOrders","userId":"ann"}',
        b'{"function":"createUser","requestId":"s"}',
        b"[]",
    ]
    sent = send_commands(connect_redis(redis_url), STREAM, lines)
    assert sent.questions == dict(zip(sent.entry_ids, ["r", "17", None], strict=False))


def test_many_lines_go_in_order_and_progress_is_told(redis_url: str):
    told: list[int] = []
    lines = [b'{"n":%d}' % number for number in range(1201)]
    sent = send_commands(
        connect_redis(redis_url), STREAM, iter(lines), on_sent=lambda sent: told.append(len(sent.entry_ids))
    )
    assert [fields[b"message"] for _, fields in entries(redis_url)] == lines
    assert told == [500, 1000, 1201]
    assert len(sent.entry_ids) == 1201


def test_a_limited_rate_is_not_exceeded(redis_url: str):
    seen: list[tuple[float, int]] = []
    start = time.monotonic()
    client = connect_redis(redis_url)
    lines = [b"{}"] * 60
    send_commands(
        client,
        STREAM,
        lines,
        rate=200,
        on_sent=lambda sent: seen.append((time.monotonic() - start, len(sent.entry_ids))),
    )
    # Each chunk waits until the ones before it are due; how late it comes is the machine's business.
    assert len(seen) == 15
    assert all(seconds >= (count - 4) / 200 for seconds, count in seen)
    assert time.monotonic() - start >= 60 / 200


def test_a_redis_that_goes_away_is_told_with_the_number_of_entries_before(tmp_path: Path):
    server = EmbeddedRedis(tmp_path, durable=False)
    server.start()

    def kill(sent: Sent) -> None:
        server.kill()

    with pytest.raises(RedisUnavailableError, match=r"did not take an entry: .*\. 500 were written before"):
        send_commands(connect_redis(server.url), STREAM, [b"{}"] * 1500, on_sent=kill)
