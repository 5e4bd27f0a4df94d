"""The end of a worker: what is still pending for it is released, and its keys are given up, without an event loop."""

import logging
from contextlib import suppress
from typing import cast

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from dbstorage.reader.group import AT_ONCE, ConsumerGroup
from dbstorage.reader.lease import give_up
from dbstorage.redis_access.client import connect_redis
from dbstorage.redis_access.holder import KeyHolder
from dbstorage.redis_access.keys import lease_key, worker_key
from dbstorage.settings import Settings

logger = logging.getLogger(__name__)

#: Seconds that a stopping worker waits for each answer of Redis; without Redis the keys expire by themselves.
FAREWELL_SECONDS = 1.0


def say_farewell(settings: Settings, holder: KeyHolder, lease_token: str, group: ConsumerGroup) -> None:
    """Release what is pending for this consumer, also entries whose reply never arrived; then delete its keys."""
    try:
        with connect_redis(settings.redis_url, FAREWELL_SECONDS) as redis:
            # Without a group, nothing is pending.
            with suppress(ResponseError):
                _release_all(redis, group)
            with redis.pipeline(transaction=False) as pipeline:
                pipeline.execute_command(*give_up(lease_key(settings), lease_token))
                pipeline.execute_command(*give_up(worker_key(settings, holder.node_name), holder.token))
                pipeline.execute()
    except (RedisError, OSError) as error:
        logger.info("Redis could not be told that this worker stops, so its keys expire by themselves: %s", error)


def _release_all(redis: Redis, group: ConsumerGroup) -> None:
    first = "-"
    while pending := redis.xpending_range(group.stream, group.name, first, "+", AT_ONCE, group.consumer):
        ids = [cast(bytes, line["message_id"]).decode() for line in pending]
        redis.execute_command(*group.release(ids))  # type: ignore[no-untyped-call]
        first = f"({ids[-1]}"
