from tests.storage.conftest import storing

__all__ = ["storing"]
