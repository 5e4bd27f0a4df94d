"""Asking sentinels who the master is, in a thread of its own: one that is away must not hold the event loop up."""

import logging
import threading
import time
from collections.abc import Callable

from redis.exceptions import RedisError

from dbstorage.reader.connection import Hub
from dbstorage.redis_access.client import find_master
from dbstorage.tracing import quiet

logger = logging.getLogger(__name__)

WATCH_SECONDS = 1.0


class MasterWatch:
    """Tells the event loop once a second which server the sentinels call the master.

    Nothing else would in time: after a planned fail-over the old master takes whatever is written to it for ten seconds
    more, and then forgets it; a frozen one says nothing at all.
    """

    def __init__(self, url: str, hub: Hub, tell: Callable[[tuple[str, int]], None]) -> None:
        self._url = url
        self._hub = hub
        self._tell = tell
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin to ask."""
        threading.Thread(target=self._run_quietly, name="master-watch", daemon=True).start()

    def stop(self) -> None:
        """Ask no more."""
        self._ended.set()

    def _run_quietly(self) -> None:
        with quiet():
            self._run()

    def _run(self) -> None:
        silent_since: float | None = None
        while not self._ended.wait(WATCH_SECONDS):
            try:
                master = find_master(self._url)
            except (RedisError, OSError) as error:
                # While they elect one. Connecting says what is wrong, and goes on for as long as it takes.
                logger.debug("The sentinels name no master: %s", error)
                continue
            if master.silence is not None and silent_since is None:
                silent_since = time.monotonic()
                logger.warning(
                    "No sentinel answers: %s. Work goes on with the master that they named last, %s:%d.",
                    master.silence, *master.address,
                )  # fmt: skip
            elif master.silence is None and silent_since is not None:
                logger.warning("A sentinel answers again after %.1f s.", time.monotonic() - silent_since)
                silent_since = None
            self._hub.call_soon(self._tell, master.address)
