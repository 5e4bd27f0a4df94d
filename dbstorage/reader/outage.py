"""An outage of the database or of Redis: told when it begins and ends, waited out with growing pauses (SPEC 3)."""

import logging
import random
import time
from collections.abc import Callable

from dbstorage.reader.link import Timer
from dbstorage.storage.outcome import Outage

logger = logging.getLogger(__name__)

#: Seconds. Pauses double from the first to the longest; each is cut at random, so that workers come back one by one.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 5.0
SHORTEST_PAUSE = 0.05


class OutagePauses:
    """What is away, and whether trying again has to wait; `try_again` is called after each pause."""

    def __init__(self, timer: Timer, try_again: Callable[[], None]) -> None:
        self.away: Outage | None = None
        self.pausing = False
        self._timer = timer
        self._try_again = try_again
        self._since = 0.0
        self._pause = 0.0

    def begin(self, outage: Outage, reason: str) -> None:
        """A batch met an outage, perhaps not the first one to do so."""
        if self.away is None:
            self._since = time.monotonic()
            if outage is Outage.FAULT:
                logger.warning("Nothing can be stored until this is mended: %s", reason)
            else:
                what = outage.title()
                logger.log(_level(outage), "%s is away: %s. Storing goes on when it is back.", what, reason.rstrip("."))
        self.away = outage
        if not self.pausing:
            self.pausing = True
            self._pause = min(LONGEST_PAUSE, self._pause * 2 or FIRST_PAUSE)
            self._timer.call_after(max(SHORTEST_PAUSE, random.uniform(0, self._pause)), self._pause_over)

    def end(self) -> None:
        """A batch was finished."""
        if self.away is not None:
            logger.log(_level(self.away), "%s is back after %.1f s.", self.away.title(), time.monotonic() - self._since)
        self.away = None
        self._pause = 0.0

    def _pause_over(self) -> None:
        self.pausing = False
        self._try_again()


def _level(outage: Outage) -> int:
    # Of a lost Redis the session tells.
    return logging.WARNING if outage is Outage.DATABASE else logging.INFO
