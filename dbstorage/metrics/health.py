"""Whether the worker is alive and ready; answered without asking any server."""

import time
from collections.abc import Callable
from enum import StrEnum

#: Seconds without a heartbeat of the event loop after which the worker is stuck; there is one every second.
LONGEST_STANDSTILL = 30.0
#: Seconds without progress: the reader neither read, nor got a batch back, nor tried whether an outage is over.
LONGEST_WITHOUT_PROGRESS = 60.0
#: Seconds after which nobody knows whether the servers answer; they are asked every two seconds.
LONGEST_SILENCE = 20.0


class ReaderState(StrEnum):
    """What the reader of the stream does."""

    #: It reads, and its entries are run.
    ACTIVE = "active"
    #: Another worker reads (strict order).
    STANDBY = "standby"
    #: An operator has told it to leave the stream to others.
    ASIDE = "aside"
    #: A server is away, or the connections are being made.
    WAITING = "waiting"


class Health:
    """Heartbeats of the event loop, and the last answers of the servers; `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.state = ReaderState.WAITING
        self._clock = clock
        # None while Celery connects to its broker: it does so in the main thread, so that the event loop stands still.
        self._beat_at: float | None = None
        self._stalled_for = 0.0
        self._holding: str | None = None
        self._refusal: str | None = None
        self._asked_at: float | None = None
        self._away: tuple[str, ...] = ()
        self.remark: str | None = None

    def beat(self, state: ReaderState, *, stalled_for: float, holding: str | None, refusal: str | None = None) -> None:
        """Note a heartbeat. `stalled_for`: seconds without progress. `holding`: why nothing is stored, if so.

        `refusal`: why no question is answered, though commands are stored.
        """
        self.state = state
        self._refusal = refusal
        self._stalled_for = stalled_for
        self._holding = holding
        self._beat_at = self._clock()

    @property
    def stalled_for(self) -> float:
        """Seconds without progress, as the reader last told."""
        return self._stalled_for

    @property
    def connected(self) -> bool:
        """Whether the worker is connected to its broker: only then does its event loop turn."""
        return self._beat_at is not None

    def pause(self) -> None:
        """Note that the broker is away: the event loop stands still until it is back."""
        self.state = ReaderState.WAITING
        self._beat_at = None

    def servers_asked(self, *away: str, remark: str | None = None) -> None:
        """Note that Redis and the database were asked; `away` has a sentence for each that cannot be used.

        `remark` is what a person should know although everything is stored.
        """
        self._away, self.remark = away, remark
        self._asked_at = self._clock()

    def stuck(self) -> str | None:
        """Why the worker should be restarted; None while it makes progress or rightly waits."""
        beat_at = self._beat_at
        if beat_at is None:
            return None
        still = self._clock() - beat_at
        if still > LONGEST_STANDSTILL:
            return f"The event loop has stood still for {still:.0f} s."
        if self._stalled_for > LONGEST_WITHOUT_PROGRESS:
            return f"The reader has made no progress for {self._stalled_for:.0f} s."
        return None

    def not_ready(self) -> str | None:
        """Why the worker cannot store anything now; None when the servers answer and nothing is held."""
        if self._asked_at is None:
            return "Redis and the database have not been asked yet."
        silence = self._clock() - self._asked_at
        if silence > LONGEST_SILENCE:
            return f"Redis or the database has not answered for {silence:.0f} s."
        if self._away:
            return " ".join(self._away)
        if not self.connected:
            return "Nothing is stored: the worker is not connected to its broker."
        if self._holding:
            return f"Nothing is stored: {self._holding.removesuffix('.')}."
        return f"{self._refusal.removesuffix('.')}." if self._refusal else None
