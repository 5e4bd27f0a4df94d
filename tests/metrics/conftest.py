from collections.abc import Iterator
from contextlib import closing

import pytest

from dbstorage.settings import Settings, load_settings
from tests.service.platform import Platform


@pytest.fixture
def platform(redis_url: str, database_url: str) -> Iterator[Platform]:
    with closing(Platform(redis_url, database_url)) as platform:
        yield platform


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return load_settings(environment)
