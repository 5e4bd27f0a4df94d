"""Sends at a steady rate, whatever comes back (an open loop). Latencies count from when an entry was due."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import NamedTuple

from redis import Redis

from bench.processes import TooSlowError
from bench.servers import STREAM

#: The most entries that are sent in one round trip, so that a sender that was late once does not cause a flood.
CHUNK = 500
READY_SECONDS = 60.0
#: Seconds; sleeping shorter than this is not worth it.
SHORTEST_SLEEP = 0.0002


class Schedule(NamedTuple):
    """Entries due at `start` (seconds since 1970), then `rate` a second."""

    start: float
    rate: float

    def due(self, index: int) -> float:
        """When an entry is due."""
        return self.start + index / self.rate

    def count_due(self, now: float) -> int:
        """How many are due by now."""
        return int((now - self.start) * self.rate) + 1 if now >= self.start else 0


def send_steadily(send: Callable[[int, int], None], schedule: Schedule, count: int) -> None:
    """Call `send(first, last + 1)` for whatever is due until `count` were sent."""
    sent = 0
    while sent < count:
        due = min(count, schedule.count_due(time.time()), sent + CHUNK)
        if due > sent:
            send(sent, due)
            sent = due
        else:
            time.sleep(max(SHORTEST_SLEEP, schedule.due(sent) - time.time()))


class EntrySender:
    """A process of its own that adds entries to the command stream; no work of ours makes it late."""

    def __init__(self, redis_url: str, entries: Sequence[bytes]) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_send_entries, args=(redis_url, entries, theirs), daemon=True)
        self._process.start()
        if not self._ours.poll(READY_SECONDS):
            raise TooSlowError(f"The sender of orders was not ready after {READY_SECONDS:.0f} s.")

    def begin(self, schedule: Schedule) -> None:
        """Send on this schedule."""
        self._ours.send(schedule)

    def wait(self, seconds: float) -> None:
        """Wait until everything is sent; raises TooSlowError."""
        self._process.join(seconds)
        if self._process.is_alive():
            raise TooSlowError(f"The orders were not sent after {seconds:.0f} s.")

    def stop(self) -> None:
        """End the process where it runs."""
        self._process.kill()
        self._process.join()


def _send_entries(redis_url: str, entries: Sequence[bytes], connection: Connection) -> None:
    with Redis.from_url(redis_url, protocol=2) as redis:

        def send(first: int, end: int) -> None:
            with redis.pipeline(transaction=False) as pipeline:
                for entry in entries[first:end]:
                    pipeline.xadd(STREAM, {b"message": entry})
                pipeline.execute()

        redis.ping()
        connection.send("ready")
        send_steadily(send, connection.recv(), len(entries))
