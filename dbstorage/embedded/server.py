import contextlib
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, ClassVar

import psutil

from dbstorage.embedded.files import open_log, read_private, refuse_strange_link, write_private
from dbstorage.embedded.ports import choose_port, is_free
from dbstorage.embedded.process import Account, account_for, spawn
from dbstorage.errors import EmbeddedServerError

#: Seconds that a start may take: recovery after a crash reads everything that was written since the last checkpoint.
START_TIMEOUT = 120.0
STOP_TIMEOUT = 30.0
#: Seconds until a server that was asked to stop is asked again.
SIGNAL_INTERVAL = 2.0
POLL_INTERVAL = 0.02
PORT_ATTEMPTS = 3


class EmbeddedServer(ABC):
    """A server of our own on a loopback port, with all it keeps in one directory.

    `port` is the one to take at the first start if it is free; the port is kept in the directory and taken again by
    later starts. `durable` says whether data must survive a crash of the machine. The server ends with the thread
    that started it.
    """

    name: ClassVar[str]
    #: What the names of its processes begin with.
    programs: ClassVar[tuple[str, ...]]
    signal_stop: ClassVar[signal.Signals]

    def __init__(self, directory: Path, port: int | None = None, *, durable: bool = True) -> None:
        self.directory = directory.absolute()
        self.durable = durable
        self.data = self.directory / "data"
        self.log_file = self.directory / "log"
        self._port_file = self.directory / "port"
        self._password_file = self.directory / "password"
        self._wanted_port = port
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find the server; known once it was started."""

    @property
    def port(self) -> int:
        """The TCP port; raises EmbeddedServerError before the first start."""
        if self._port is None:
            raise EmbeddedServerError(f"{self.name} has not been started yet.")
        return self._port

    @property
    def pid(self) -> int:
        """The process id; raises EmbeddedServerError while the server is not running."""
        if self._process is None or self._process.poll() is not None:
            raise EmbeddedServerError(f"{self.name} is not running.")
        return self._process.pid

    def poll(self) -> int | None:
        """None while the server runs, else its exit code (negative: the signal that ended it)."""
        return self._process.poll() if self._process else 0

    def start(self) -> None:
        """Start the server and wait until it answers; does nothing when it runs.

        Raises EmbeddedServerError with the reason and the end of the server's log.
        """
        if self.poll() is None:
            return
        try:
            account = self._take_directory()
            self._stop_leftover()
            self._prepare(account)
            for attempt in range(PORT_ATTEMPTS):
                self._port = choose_port(self._kept_port(), self._wanted_port)
                write_private(self._port_file, f"{self._port}\n")
                with open_log(self.log_file) as log, self._standard_input() as standard_input:
                    log_start = log.seek(0, os.SEEK_END)
                    self._process = spawn(
                        self._command(),
                        signal_when_orphaned=self.signal_stop,
                        account=account,
                        directory=self.data,
                        output=log,
                        standard_input=standard_input,
                        reach=[self._installation(), self.data],
                    )
                if self._wait_until_ready():
                    return
                if attempt + 1 == PORT_ATTEMPTS or is_free(self._port):
                    raise EmbeddedServerError(f"{self.name} does not start: {self._log_tail(log_start)}")
        except OSError as error:
            raise EmbeddedServerError(f"{self.name} does not start: {error.filename}: {error.strerror}.") from error

    def kill(self) -> None:
        """End the server and its child processes at once, as a crash would."""
        if self._process is None or self._process.poll() is not None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self._process.pid).children(recursive=True)
            self._process.kill()
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
            # PostgreSQL does not start again before the last of them is gone.
            _wait_until_ended(children)
        self._process.wait()

    def _stop(self, signal_number: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        deadline = time.monotonic() + STOP_TIMEOUT
        while time.monotonic() < deadline:
            # Asked more than once: Redis ignores the request while it writes its first append-only file.
            self._process.send_signal(signal_number)
            # A frozen process would not see the signal.
            self._process.send_signal(signal.SIGCONT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(SIGNAL_INTERVAL)
                return
        self.kill()

    @abstractmethod
    def _command(self) -> list[str | Path]:
        """The command line of the server."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server takes commands now."""

    @abstractmethod
    def _pid_file(self) -> Path:
        """The file in which the server itself writes its process id first."""

    @abstractmethod
    def _installation(self) -> Path:
        """Files and directories of its program that the server has to reach."""

    def _standard_input(self) -> AbstractContextManager[IO[bytes] | None]:
        """What the server reads from its standard input."""
        return contextlib.nullcontext()

    @abstractmethod
    def _prepare(self, account: Account) -> None:
        """Make sure that there is a data directory that belongs to the account."""

    def _take_directory(self) -> Account:
        """Make the directory. It belongs to us; only the data in it belongs to the server's account.

        A server that was broken into can then put no link in the place of what we write.
        """
        refuse_strange_link(self.directory)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        refuse_strange_link(self.data)
        account = account_for(self.directory)
        if account.user_id >= 0:
            if self.directory.parent.stat().st_uid == 0:
                # Earlier versions of DBStorage gave the whole directory to the server's account.
                os.chown(self.directory, 0, 0)
            self.directory.chmod(0o711)
        if self.data.is_dir():
            account = account_for(self.data)
        return account

    def _password(self) -> str:
        password = read_private(self._password_file)
        if password is None:
            raise EmbeddedServerError(f"{self._password_file} is gone, and without it nobody gets into {self.name}.")
        return password

    def _make_data(self, name: str, account: Account) -> Path:
        """An empty directory that the server may write to."""
        made = self.directory / name
        made.mkdir(mode=0o700)
        if account.user_id >= 0:
            os.chown(made, *account)
        return made

    def _wait_until_ready(self) -> bool:
        assert self._process  # called by start() only
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self._answers():
                # It may be another server that took the port a moment before ours.
                return self._process.poll() is None
            if self._process.poll() is not None:
                return False
            time.sleep(POLL_INTERVAL)
        self.kill()
        return False

    def _kept_port(self) -> int | None:
        try:
            return int(read_private(self._port_file) or "")
        except ValueError:
            return None

    def _stop_leftover(self) -> None:
        """Stop a server of this directory that an earlier start has left; delete the pid file of one that is gone."""
        pid_file = self._pid_file()
        try:
            process = psutil.Process(int((read_private(pid_file) or "").split("\n")[0]))
            if process.name().startswith(self.programs) and Path(process.cwd()) == self.data:
                process.send_signal(self.signal_stop)
                _wait_until_ended([process])
        except (OSError, ValueError, psutil.Error):
            pass
        # Another program may have this process id by now, and PostgreSQL would take it for a running server.
        pid_file.unlink(missing_ok=True)

    def _log_tail(self, start: int) -> str:
        with self.log_file.open("rb") as log:
            log.seek(start)
            lines = log.read().decode(errors="replace").strip().splitlines()
        return "\n  ".join(["the end of its log is", *lines[-5:]] if lines else [f"see {self.log_file}."])


def _wait_until_ended(processes: list[psutil.Process]) -> None:
    """Wait for processes that are not our children; whether anybody collects their exit code does not matter."""
    deadline = time.monotonic() + STOP_TIMEOUT
    while any(map(_is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(POLL_INTERVAL)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
