import os
from collections.abc import Iterator
from contextlib import closing

import pytest
import redis

from dbstorage.embedded import EmbeddedPostgres, EmbeddedRedis
from tests.conftest import new_database
from tests.service.platform import Platform
from tests.service.worker import Worker


@pytest.fixture
def platform(redis_url: str, database_url: str) -> Iterator[Platform]:
    platform = Platform(redis_url, database_url)
    yield platform
    platform.close()


@pytest.fixture(scope="module")
def service(
    redis_server: EmbeddedRedis,
    postgres_server: EmbeddedPostgres,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Platform]:
    """One worker for all tests of a module, which therefore use ids of their own; tells of questions' age nothing."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    for database_url in new_database(postgres_server, migrated_template):
        environment = {**os.environ, "REDIS_URL": redis_server.url, "DATABASE_URL": database_url}
        settings = {"QUERY_TTL": "3600", "USER_WAIT": "3"}
        worker = Worker({**environment, **settings}, tmp_path_factory.mktemp("service"))
        with closing(Platform(redis_server.url, database_url)) as platform, worker:
            worker.start()
            yield platform
