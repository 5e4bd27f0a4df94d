from tests.service.conftest import service as service  # a worker for all tests of a module
