import time

import pytest
import redis
from sqlalchemy import text

from dbstorage.database.engine import create_engine
from dbstorage.metrics.figures import count_failed_tasks, read_stream
from dbstorage.redis_access.client import connect_redis
from dbstorage.settings import Settings
from tests.service.platform import GROUP, STREAM, Platform, user


@pytest.fixture
def client(settings: Settings) -> redis.Redis:
    return connect_redis(settings.redis_url)


def test_a_stream_that_is_not_there_has_no_entries_and_nothing_else_is_known(
    client: redis.Redis, settings: Settings
) -> None:
    figures = read_stream(client, settings)
    assert figures is not None
    assert figures.entries == 0
    assert (figures.lag, figures.pending, figures.oldest_pending_age) == (None, None, None)


def test_a_stream_that_was_read_to_its_end_has_no_lag(
    client: redis.Redis, settings: Settings, platform: Platform
) -> None:
    platform.send(user("a"), user("b"))
    client.xgroup_create(STREAM, GROUP, "$")
    figures = read_stream(client, settings)
    assert figures is not None
    assert figures.entries == 2
    assert (figures.lag, figures.pending) == (0, 0)
    assert (figures.oldest_pending_age, figures.oldest_unread_age) == (0, 0)


def test_what_is_behind_has_an_age_by_the_clock_of_redis(client: redis.Redis, settings: Settings) -> None:
    seconds, _ = client.time()
    for age in (90, 60, 30):
        client.xadd(STREAM, {"message": "{}"}, id=f"{(seconds - age) * 1000}-0")
    client.xgroup_create(STREAM, GROUP, "0")
    client.xreadgroup(GROUP, "somebody", {STREAM: ">"}, count=1)
    figures = read_stream(client, settings)
    assert figures is not None
    assert figures.pending == 1
    assert figures.oldest_pending_age == pytest.approx(90, abs=20)
    assert figures.oldest_unread_age == pytest.approx(60, abs=20)
    assert figures.lag == 2


def test_entries_that_were_deleted_unread_are_no_lag(client: redis.Redis, settings: Settings) -> None:
    client.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    client.xdel(STREAM, client.xadd(STREAM, {"message": "{}"}))
    figures = read_stream(client, settings)
    assert figures is not None
    assert (figures.lag, figures.oldest_unread_age) == (0, 0)


def test_an_entry_id_from_the_future_has_no_negative_age(client: redis.Redis, settings: Settings) -> None:
    client.xadd(STREAM, {"message": "{}"}, id=f"{round(time.time() + 3600) * 1000}-0")
    client.xgroup_create(STREAM, GROUP, "0")
    figures = read_stream(client, settings)
    assert figures is not None
    assert figures.oldest_unread_age == 0


def test_another_key_under_the_name_of_the_stream_is_no_outage(client: redis.Redis, settings: Settings) -> None:
    client.set(STREAM, "text")
    assert read_stream(client, settings) is None


def test_failed_tasks_are_counted_while_somebody_has_to_act_on_them(settings: Settings) -> None:
    states = [
        ("a", "failed"),
        ("a", "failed"),
        ("a", "retrying"),
        ("b", "failed"),
        ("b", "resolved"),
        ("c", "discarded"),
    ]
    engine = create_engine(settings.database)
    with engine.begin() as connection:
        for number, (code, state) in enumerate(states):
            connection.execute(
                text(
                    "INSERT INTO dbstorage.failed_tasks "
                    "(stream, consumer_group, life, task_id, entry_id, layout, payload, code, message, state) "
                    "VALUES (:stream, :group, 1, 't', :entry_id, 'flat', '', :code, 'm', :state)"
                ),
                {"entry_id": f"{number}-0", "code": code, "state": state, **settings.scope._asdict()},
            )
        assert count_failed_tasks(connection, settings.scope) == {
            ("a", "failed"): 2,
            ("a", "retrying"): 1,
            ("b", "failed"): 1,
        }
    engine.dispose()
