import pytest

from dbstorage.settings import Settings, load_settings


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return load_settings(environment)
