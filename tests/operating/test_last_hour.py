from typing import Any

import redis

from dbstorage.operating.last_hour import Point, add_point, read_points, together, trend
from dbstorage.operating.verdict import Waiting
from dbstorage.redis_access.keys import history_key
from dbstorage.settings import load_settings


def test_what_several_workers_did_is_added_up_and_the_stream_is_as_the_last_one_saw_it():
    points = [
        Point(at=101, seconds=10, entries=5, stored=3, failed=1, answered=1, answer_median=2, unread=9, oldest=4),
        Point(at=109, seconds=10, entries=7, stored=7, answer_slowest=8, unread=2, pending=1, oldest=1),
        Point(at=111, seconds=10, entries=1),
    ]
    first, second = together(points)
    assert first == Point(
        at=110, seconds=10, entries=12, stored=10, failed=1, answered=1, answer_median=2, answer_slowest=8,
        unread=2, pending=1, oldest=1,
    )  # fmt: skip
    assert (second.at, second.unread) == (120, None)
    assert trend([first, second]) == [Waiting(110, 3)]


def test_an_hour_is_kept_and_no_more(redis_url: str):
    settings = load_settings({"REDIS_URL": redis_url, "DATABASE_URL": "postgresql://localhost/db"})
    client: Any
    with redis.Redis.from_url(redis_url) as client:
        key = history_key(settings)
        now = client.time()[0]
        client.xadd(key, {"point": "{}"}, id=f"{(now - 3700) * 1000}-0")
        client.xadd(key, {"point": "what somebody else wrote"}, id=f"{(now - 60) * 1000}-0")
        add_point(client, settings, Point(at=now, seconds=10, stored=4))
        assert client.xlen(key) == 2
        assert [point.stored for point in read_points(client, settings)] == [4]
        assert 0 < client.ttl(key) <= 3600
