"""Starting, killing and watching real workers."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar, Self
from weakref import WeakSet

import psutil

from tests.waiting import wait_until


class Worker:
    """A `celery -A dbstorage worker` process of a test's own."""

    #: Words in front of the command, to run it in another place.
    prefix: tuple[str, ...] = ()
    #: The module of the Celery application.
    application = "dbstorage"
    _started: ClassVar["WeakSet[Worker]"] = WeakSet()

    def __init__(self, environment: dict[str, str], directory: Path, name: str = "worker", *options: str) -> None:
        self.environment = {"LOG_LEVEL": "INFO", "PYTHONUNBUFFERED": "1", **environment}
        self.name = f"{name}@test"
        self.options = options
        self.log_path = directory / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._seen = 0
        self._frozen: list[int] = []

    def start(self, *, ready: bool = True) -> Self:
        """Start the worker and wait until it is ready."""
        # A worker waits for a second to hear from its neighbours what was revoked. Where there are none, it need not.
        without = () if any(worker.alive for worker in self._started) else ("--without-mingle",)
        self._started.add(self)
        self._seen = self.log.count(" ready.")
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self.prefix,
                    sys.executable,
                    "-m",
                    "celery",
                    "-A",
                    self.application,
                    "worker",
                    "-n",
                    self.name,
                    *without,
                    *self.options,
                ],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if ready:
            self.wait_until_ready()
        return self

    @property
    def ready(self) -> bool:
        """Whether it has said so since its last start."""
        return self.log.count(" ready.") > self._seen

    def wait_until_ready(self) -> None:
        """Wait for the end of a start with `ready=False`."""
        wait_until(lambda: self.ready or not self.alive, "the worker to be ready")
        assert self.alive, self.log

    @property
    def log(self) -> str:
        """Everything the worker has logged, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def alive(self) -> bool:
        """Whether the main process runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def pool_processes(self) -> list[psutil.Process]:
        """The pool's child processes."""
        if self.process is None or not self.alive:
            return []
        try:
            return psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return []

    def freeze(self) -> None:
        """Stop all its processes in their tracks, as a suspended container's."""
        assert self.process is not None
        self._stop([self.process.pid, *(child.pid for child in self.pool_processes)])

    def freeze_pool(self) -> None:
        """Stop the pool's processes; the main one goes on."""
        self._stop([child.pid for child in self.pool_processes])

    def _stop(self, processes: list[int]) -> None:
        self._frozen = processes
        for pid in self._frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let its processes go on that were frozen and still are."""
        for pid in self._frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._frozen = []

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze it for a while."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def kill(self) -> None:
        """SIGKILL the main process; on Linux its children die with it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def kill_pool_process(self) -> bool:
        """SIGKILL one pool process."""
        for child in self.pool_processes[:1]:
            try:
                os.kill(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                return False
            return True
        return False

    def terminate(self) -> None:
        """Send SIGTERM to the main process only, as a process manager should."""
        if self.process is not None and self.alive:
            self.process.send_signal(signal.SIGTERM)

    def stop(self, seconds: float = 20) -> int:
        """SIGTERM and wait for the end; the exit code."""
        self.terminate()
        return self.wait(seconds)

    def wait(self, seconds: float = 20) -> int:
        """Wait for the end of a worker that stops; the exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


StartWorker = Callable[..., Worker]
