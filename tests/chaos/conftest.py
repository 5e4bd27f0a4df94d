import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import redis

from dbstorage.database.migrate import upgrade
from dbstorage.database.url import parse_database_url
from dbstorage.embedded.postgres import EmbeddedPostgres
from dbstorage.embedded.redis import EmbeddedRedis
from dbstorage.embedded.server import EmbeddedServer
from tests.conftest import POSTGRES_SETTINGS
from tests.length import FULL as FULL
from tests.length import scaled as scaled
from tests.service.platform import Platform

#: For what costs much and shows little beyond its neighbours: it runs only in the whole suite.
full_only = pytest.mark.full_only


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, in the short form, what is marked `full_only`."""
    if not FULL:
        long = [item for item in items if item.get_closest_marker("full_only")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


class Servers:
    """A PostgreSQL and a Redis of a test's own, which may be stopped and killed."""

    def __init__(self, directory: Path) -> None:
        self.postgres = EmbeddedPostgres(directory / "postgres", settings=POSTGRES_SETTINGS)
        self.redis = EmbeddedRedis(directory / "redis")

    def start(self) -> None:
        """Start both."""
        self.postgres.start()
        self.redis.start()

    def make_well(self) -> None:
        """Let both run, answer and take data again, whatever a test has done to them."""
        self.thaw(self.postgres)
        self.thaw(self.redis)
        self.start()
        with redis.Redis.from_url(self.redis.url, protocol=2) as client:
            client.config_set("maxmemory", 0)
            client.client_unpause()

    def freeze(self, server: EmbeddedServer) -> None:
        """Stop a server in its tracks: its connections stay open, and nothing is answered."""
        self._signal(server, signal.SIGSTOP)

    def thaw(self, server: EmbeddedServer) -> None:
        """Let a frozen server go on."""
        self._signal(server, signal.SIGCONT)

    @contextmanager
    def frozen(self, server: EmbeddedServer) -> Iterator[None]:
        """Freeze a server for a while."""
        self.freeze(server)
        try:
            yield
        finally:
            self.thaw(server)

    @staticmethod
    def _signal(server: EmbeddedServer, number: signal.Signals) -> None:
        if server.poll() is not None:
            return
        main = psutil.Process(server.pid)
        # PostgreSQL has a process for each connection. None is born once the first one is frozen.
        main.send_signal(number)
        for child in main.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.send_signal(number)

    def stop(self) -> None:
        """Stop both."""
        self.postgres.stop("immediate")
        self.redis.kill()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(tmp_path_factory.mktemp("chaos"))
    servers.start()
    upgrade(parse_database_url(servers.postgres.url))
    yield servers
    servers.stop()


@pytest.fixture
def platform(servers: Servers) -> Iterator[Platform]:
    """The platform on servers of its own, empty at first."""
    servers.make_well()
    with closing(Platform(servers.redis.url, servers.postgres.url)) as platform:
        platform.redis.flushall()
        platform.query(
            'TRUNCATE "User", "Orders", dbstorage.failed_tasks, dbstorage.applied_users RESTART IDENTITY CASCADE'
        )
        yield platform


@pytest.fixture
def environment(platform: Platform) -> dict[str, str]:
    return {**os.environ, **platform.environment}
