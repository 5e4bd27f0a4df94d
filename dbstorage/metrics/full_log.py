"""Tells the log that Redis is full, and that it has room again."""

import logging

logger = logging.getLogger("dbstorage.metrics")

#: Seconds with room after which it is over: at its limit Redis is full at one moment and not at the next.
ROOM_SECONDS = 30.0


class FullLog:
    """Logs once when Redis is full, and once when that is over."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._seen_at = 0.0

    def seen(self, full: str | None, now: float) -> None:
        """Take what Redis says now: the sentence that it is full, or None. `now`: monotonic seconds."""
        if full is not None:
            if self._since is None:
                self._since = now
                logger.error(full)
            self._seen_at = now
        elif self._since is not None and now - self._seen_at >= ROOM_SECONDS:
            logger.warning("Redis has room again; it was full for %.0f s.", self._seen_at - self._since)
            self._since = None
