"""A platform and a worker that serves it, for all tests of a module."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import redis

from dbstorage.embedded.redis import EmbeddedRedis
from tests.service.platform import Platform
from tests.service.worker import Worker


@contextmanager
def served_platform(
    redis_server: EmbeddedRedis, database_url: str, directory: Path, **settings: str
) -> Iterator[Platform]:
    """The platform on an empty Redis; a worker with these settings runs meanwhile."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    environment = {**os.environ, "REDIS_URL": redis_server.url, "DATABASE_URL": database_url, **settings}
    with closing(Platform(redis_server.url, database_url)) as platform, Worker(environment, directory) as worker:
        worker.start()
        yield platform
