"""Whether the worker is alive and ready, told without asking any server."""

import time
from collections.abc import Callable
from enum import StrEnum

#: Seconds without a turn of the event loop after which the worker is stuck; a timer turns it every second.
LONGEST_STANDSTILL = 30.0
#: Seconds that a batch may take. A pool job ends within seconds (statement timeout), so that this one never will.
LONGEST_BATCH = 120.0
#: Seconds after which it counts as unknown whether the servers answer; they are asked every two seconds.
LONGEST_SILENCE = 20.0


class ReaderState(StrEnum):
    """What the reader of the stream does."""

    #: It reads, and its entries are run.
    ACTIVE = "active"
    #: Another worker reads (strict order).
    STANDBY = "standby"
    #: A server is away, or the connections are being made.
    WAITING = "waiting"


class Health:
    """Signs of life from the event loop, and the last answers of the servers; `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.state = ReaderState.WAITING
        self._clock = clock
        # None while the event loop rightly stands still: Celery connects to its broker in the main thread.
        self._beat_at: float | None = None
        self._progress_at = clock()
        self._asked_at: float | None = None
        self._away: tuple[str, ...] = ()

    def beat(self, state: ReaderState, *, idle: bool) -> None:
        """The event loop turns; `idle` when no batch is being run."""
        self.state = state
        self._beat_at = self._clock()
        if idle:
            self._progress_at = self._beat_at

    def progressed(self) -> None:
        """A batch came to its end."""
        self._progress_at = self._clock()

    def pause(self) -> None:
        """The broker is away, and the event loop stands still until it is back."""
        self.state = ReaderState.WAITING
        self._beat_at = None

    def servers_asked(self, *away: str) -> None:
        """Redis and the database were asked; a sentence for each that cannot be used."""
        self._away = away
        self._asked_at = self._clock()

    def stuck(self) -> str | None:
        """Why the worker should be restarted; None while it makes progress or rightly waits."""
        beat_at = self._beat_at
        if beat_at is None:
            return None
        still = self._clock() - beat_at
        if still > LONGEST_STANDSTILL:
            return f"The event loop has stood still for {still:.0f} s."
        without = self._clock() - self._progress_at
        if without > LONGEST_BATCH:
            return f"The batch in hand has not come to an end for {without:.0f} s."
        return None

    def not_ready(self) -> str | None:
        """Why the worker cannot store anything now; None when Redis and the database answer."""
        if self._asked_at is None:
            return "Redis and the database have not been asked yet."
        silence = self._clock() - self._asked_at
        if silence > LONGEST_SILENCE:
            return f"Redis or the database has not answered for {silence:.0f} s."
        return " ".join(self._away) or None
