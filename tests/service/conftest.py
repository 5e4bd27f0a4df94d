from collections.abc import Iterator

import pytest

from dbstorage.embedded.postgres import EmbeddedPostgres
from dbstorage.embedded.redis import EmbeddedRedis
from tests.conftest import new_database
from tests.service.platform import Platform
from tests.service.serving import served_platform


@pytest.fixture(scope="module")
def service(
    redis_server: EmbeddedRedis,
    postgres_server: EmbeddedPostgres,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Platform]:
    """One worker for all tests of a module, which therefore use ids of their own; tells of questions' age nothing."""
    directory = tmp_path_factory.mktemp("service")
    for database_url in new_database(postgres_server, migrated_template):
        with served_platform(redis_server, database_url, directory, QUERY_TTL="3600", USER_WAIT="3") as platform:
            yield platform
