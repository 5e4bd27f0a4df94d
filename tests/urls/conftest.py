import pytest

from tests.service.tls import Certificate, make_certificate


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate and its key, as files."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))
