"""Starting what is measured, watching that it runs, and stopping all of it in the end."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from dbstorage.embedded.process import spawn

STOP_SECONDS = 12.0
LOG_LINES = 15
PYTHON = sys.executable


class EndedError(Exception):
    """Raised when a process that is measured ends by itself; the sentence holds the end of its log."""


class TooSlowError(Exception):
    """Raised when something does not begin, or does not get done, in the time it is given."""


class Processes:
    """Processes by the group they are counted in; leaving the context ends them, latest first."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._environment = environment
        self._started: list[tuple[str, Path, subprocess.Popen[bytes]]] = []

    def start(self, group: str, name: str, command: Sequence[str], **settings: str) -> None:
        """Start a command of words; `settings` join its environment."""
        log_path = self._directory / f"{name}.log"
        with log_path.open("ab") as log:
            process = spawn(
                command,
                signal_when_orphaned=signal.SIGKILL,
                environment={**self._environment, **settings},
                output=log,
            )
        self._started.append((group, log_path, process))

    def pids(self) -> dict[str, list[int]]:
        """The process ids of each group."""
        pids: dict[str, list[int]] = {}
        for group, _, process in self._started:
            pids.setdefault(group, []).append(process.pid)
        return pids

    def check(self) -> None:
        """Raise EndedError where a process has ended."""
        for _, log_path, process in self._started:
            if process.poll() is not None:
                lines = log_path.read_text(errors="replace").strip().splitlines()[-LOG_LINES:]
                raise EndedError("\n  ".join([f"{log_path.stem} ended with exit code {process.returncode}:", *lines]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        processes = [process for _, _, process in reversed(self._started)]
        for process in processes:
            if process.poll() is None:
                process.terminate()
        for process in processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    process.kill()
                process.wait()


def wait_for(condition: Callable[[], bool], seconds: float, pause: float, processes: Processes, who: str) -> None:
    """Wait until the condition is true, looking every `pause` seconds.

    Raises TooSlowError after `seconds`, EndedError where a process has ended.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TooSlowError(f"{who} was given up after {seconds:.0f} s.")
        processes.check()
        time.sleep(pause)
