from collections.abc import Iterator

import pytest

from tests.storage.service import Service


@pytest.fixture
def storing(environment: dict[str, str]) -> Iterator[Service]:
    """A service whose batches run in this process."""
    service = Service(environment)
    yield service
    service.redis.close()
    service.resources.engine.dispose()
