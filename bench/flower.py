"""Flower beside a worker under full load: does it stay connected, and how long do its pages take?"""

import statistics
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Self

from redis import Redis

from bench.contenders.catalog import FLOWER
from bench.processes import PYTHON, Processes
from dbstorage.embedded.ports import LOOPBACK, choose_port

START_SECONDS = 60.0
PAGE_SECONDS = 10.0
#: Seconds between two visits of a page.
PAUSE = 0.5


class Flower:
    """The dashboard as a process of its own, and a visitor who requests its page of workers again and again."""

    def __init__(self, port: int, redis: Redis) -> None:
        self._url = f"http://{LOOPBACK}:{port}/workers"
        self._redis = redis
        self._connections: set[str] = set()
        self._seconds: list[float] = []
        self._missing = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._visit, name="flower", daemon=True)

    @classmethod
    def start(cls, processes: Processes, redis: Redis) -> Self:
        """Start it, and wait until its page comes and it listens to events; raises EndedError, TimeoutError."""
        port = choose_port()
        processes.start(
            FLOWER,
            "flower",
            (PYTHON, "-m", "celery", "-A", "dbstorage", "flower", f"--address={LOOPBACK}", f"--port={port}"),
        )
        flower = cls(port, redis)
        deadline = time.monotonic() + START_SECONDS
        while not (flower._page_comes() and flower._listening()):
            processes.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"Flower was not ready after {START_SECONDS:.0f} s.")
            time.sleep(0.1)
        return flower

    def watch(self) -> None:
        """Begin to visit the page."""
        self._connections = self._listening()
        self._thread.start()

    def findings(self) -> dict[str, float]:
        """End the visits: seconds for a page, pages that never came, connections for events that Redis cut off."""
        self._stopped.set()
        self._thread.join()
        seconds = self._seconds or [PAGE_SECONDS]
        return {
            "page_seconds_median": round(statistics.median(seconds), 4),
            "page_seconds_longest": round(max(seconds), 4),
            "pages_missing": self._missing,
            "connections_lost": len(self._connections - self._listening()),
        }

    def _listening(self) -> set[str]:
        """The ids of connections that are subscribed to events or to remote control: Flower's and the worker's."""
        clients = self._redis.client_list(_type="pubsub")
        return {client["id"] for client in clients if client["psub"] != "0"}

    def _visit(self) -> None:
        while not self._stopped.is_set():
            begun = time.perf_counter()
            if self._page_comes():
                self._seconds.append(time.perf_counter() - begun)
            else:
                self._missing += 1
            self._stopped.wait(PAUSE)

    def _page_comes(self) -> bool:
        # What urllib raises for a refused connection, a late answer and a status other than 200 are all OSErrors.
        with suppress(OSError), urllib.request.urlopen(self._url, timeout=PAGE_SECONDS) as page:
            page.read()
            return True
        return False


def flower_sentence(beside: str, findings: Sequence[Mapping[str, float]]) -> str:
    """What was found in one or more runs."""
    return (
        f"Flower beside {beside}: its page of workers came in "
        f"{statistics.median(each['page_seconds_median'] for each in findings) * 1000:.0f} ms (median; longest "
        f"{max(each['page_seconds_longest'] for each in findings) * 1000:.0f} ms), "
        f"{sum(each['pages_missing'] for each in findings):.0f} visits went unanswered, "
        f"connections for events that were lost: {sum(each['connections_lost'] for each in findings):.0f}."
    )
