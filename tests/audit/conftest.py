import pytest

from dbstorage.settings import Settings, load_settings
from tests.service.conftest import service as service
from tests.service.platform import Platform


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    """The settings of a service on the test's own Redis and database."""
    return load_settings(environment)


@pytest.fixture
def service_settings(service: Platform) -> Settings:
    """The settings of the service that all tests of a module share."""
    return load_settings(service.environment)
