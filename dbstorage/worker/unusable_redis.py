"""Redis servers with which a worker can never work: it ends with a sentence instead of trying forever."""

from collections.abc import Iterator
from typing import Any

from redis.exceptions import NoPermissionError, RedisError

from dbstorage.redis_access.acl import cluster_sentence, is_cluster, worker_channels
from dbstorage.redis_access.client import connect_redis
from dbstorage.settings import Settings, without_password
from dbstorage.urls.redis_url import is_redis


def unusable_servers(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each reason. A server that cannot be reached is no reason: the worker waits for it."""
    brokers = [settings.broker_url] if is_redis(settings.broker_url) else []
    for url in dict.fromkeys([settings.redis_url, *brokers]):
        # redis-py types only a part of what is used here.
        connect: Any = connect_redis
        try:
            with connect(url) as redis:
                if is_cluster(redis):
                    yield cluster_sentence(without_password(url))
                elif url in brokers:
                    yield from _closed_channels(redis, settings)
        except (RedisError, OSError):
            continue


def _closed_channels(redis: Any, settings: Settings) -> Iterator[str]:
    for pattern in worker_channels(settings):
        listener = redis.pubsub()
        try:
            listener.psubscribe(pattern)
            listener.get_message(timeout=1)
        except NoPermissionError:
            yield (
                f"The broker's user may not listen to the channel pattern {pattern}, without which Celery does not "
                f"start: add &{pattern} to it, letter by letter; dbstorage grants prints the ACL line."
            )
        finally:
            listener.close()
