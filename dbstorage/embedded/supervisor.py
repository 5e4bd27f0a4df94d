import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dbstorage.errors import EmbeddedServerError

POLL_INTERVAL = 0.2
#: Seconds before a part that ended is started again; doubled each time that it ends soon.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
#: Seconds after which a part that was started again counts as healthy.
LASTING = 60.0
#: Exit code of a process whose settings are wrong: starting it again would not help.
WRONG_SETTING = 2


class Part(Protocol):
    """Something that runs: a server or a process of the service."""

    @property
    def name(self) -> str:
        """Its name in sentences."""

    def start(self) -> None:
        """Start it; raises EmbeddedServerError."""

    def poll(self) -> int | None:
        """None while it runs, else its exit code."""

    def stop(self) -> None:
        """Stop it, if it runs."""


@dataclass
class _Watched:
    part: Part
    started_at: float
    pause: float = FIRST_PAUSE
    start_again_at: float | None = None


class Supervisor:
    """Starts parts, restarts those that end by themselves, and stops all of them in the opposite order.

    `say` is called with a sentence about each of these.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._watched: list[_Watched] = []

    def start(self, part: Part) -> None:
        """Start a part; raises EmbeddedServerError."""
        # Listed before it runs: if Ctrl-C comes in between, it is stopped, too.
        self._watched.append(_Watched(part, time.monotonic()))
        part.start()

    def watch(self) -> int:
        """Look after the parts until one ends because of a wrong setting; return its exit code."""
        while True:
            for watched in self._watched:
                exit_code = watched.part.poll()
                if exit_code == WRONG_SETTING:
                    self._say(f"{watched.part.name} cannot work with its settings.")
                    return exit_code
                if exit_code is not None:
                    self._look_after(watched, exit_code)
            time.sleep(POLL_INTERVAL)

    def stop(self) -> None:
        """Stop all parts, the last started first."""
        for watched in reversed(self._watched):
            watched.part.stop()

    def _look_after(self, watched: _Watched, exit_code: int) -> None:
        now = time.monotonic()
        if watched.start_again_at is None:
            if now - watched.started_at > LASTING:
                watched.pause = FIRST_PAUSE
            self._plan(watched, f"{watched.part.name} ended by itself ({_how(exit_code)})")
        elif now >= watched.start_again_at:
            watched.start_again_at = None
            watched.started_at = now
            try:
                watched.part.start()
            except EmbeddedServerError as error:
                self._plan(watched, str(error))

    def _plan(self, watched: _Watched, what: str) -> None:
        self._say(f"{what}; starting it again in {watched.pause:g} s.")
        watched.start_again_at = time.monotonic() + watched.pause
        watched.pause = min(watched.pause * 2, LONGEST_PAUSE)


def _how(exit_code: int) -> str:
    return f"exit code {exit_code}" if exit_code >= 0 else f"signal {signal.Signals(-exit_code).name}"
