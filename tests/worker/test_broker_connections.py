"""A broker that does not answer is given up at once, by whatever waits for it."""

import threading
from collections.abc import Iterator
from typing import Any

import kombu.transport
import pytest
import redis
from celery import Celery
from redis.exceptions import ConnectionError

from dbstorage.application import create_app
from dbstorage.settings import load_settings
from dbstorage.worker import broker_connections
from tests.service.platform import Platform
from tests.waiting import wait_until


@pytest.fixture
def app(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Celery:
    # Giving up is for the rest of a process's life; here it is for a test's.
    monkeypatch.setattr(broker_connections, "_given_up", threading.Event())
    return create_app(load_settings({"REDIS_URL": redis_url, "DATABASE_URL": "postgresql://user@localhost/database"}))


@pytest.fixture
def client(app: Celery) -> Iterator[Any]:
    """The Redis client of a channel."""
    with app.connection_for_read() as connection, connection.channel() as channel:
        yield channel.client


def test_what_waits_for_the_broker_fails_when_it_is_given_up(client: Any, redis_url: str) -> None:
    def give_up() -> None:
        with redis.Redis.from_url(redis_url) as onlooker:
            wait_until(lambda: onlooker.info("clients")["blocked_clients"], "the client to wait")
        broker_connections.give_up_broker()

    thread = threading.Thread(target=give_up)
    thread.start()
    with pytest.raises(ConnectionError):
        client.blpop("nothing", 0)
    thread.join()


def test_a_broker_that_was_given_up_is_not_connected_to(client: Any) -> None:
    broker_connections.give_up_broker()
    with pytest.raises(ConnectionError, match="the worker stops"):
        client.ping()


def test_a_full_broker_is_told_of_once(app: Celery, platform: Platform, caplog: pytest.LogCaptureFixture) -> None:
    with app.connection_for_read() as connection, connection.channel() as channel:
        app.amqp.TaskConsumer(channel).consume()
        poller = connection.transport.cycle
        platform.redis.config_set("maxmemory", 1)
        try:
            for _ in range(3):
                poller.maybe_restore_messages()
        finally:
            platform.redis.config_set("maxmemory", 0)
        poller.maybe_restore_messages()
    [line] = caplog.records
    assert "maxmemory" in line.getMessage()
    assert line.exc_info is None


@pytest.mark.parametrize(
    "url", ["redis://localhost", "rediss://localhost", "redis+sentinel://localhost/x", "rediss+sentinel://localhost/x"]
)
def test_every_redis_broker_can_be_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # kombu remembers the transports that this process has used, in other tests too.
    monkeypatch.setattr(kombu.transport, "_transport_cache", {})
    app = create_app(load_settings({"REDIS_URL": url, "DATABASE_URL": "postgresql://user@localhost/database"}))
    channel_class = app.connection_for_read().transport.Channel
    assert issubclass(channel_class.connection_class, broker_connections.GivesUp)
    assert issubclass(channel_class.connection_class_ssl, broker_connections.GivesUp)
