"""What the log says of the lease: a line whenever it goes to another worker, with whom it came from and why."""

import logging
from typing import NamedTuple

from dbstorage.reader.core import LEASE_SECONDS
from dbstorage.redis_access.holder import KeyHolder

#: Seconds by which the time that Redis told and our own clock may differ.
LEEWAY = 0.3
STRANGER = "something that is no worker of this service"


class Line(NamedTuple):
    """A line of the log."""

    level: int
    sentence: str


class LeaseNews:
    """Follows the answers to one worker's requests for the lease; moments in seconds on one clock that never falls."""

    def __init__(self, own_name: str) -> None:
        self._own_name = own_name
        self._mine = False
        self._renewed_at = 0.0
        #: Who held it last, None where that is no worker; when it was seen, and until when it would have held it.
        self._other: KeyHolder | None = None
        self._seen = False
        self._expires_at = 0.0

    def ours(self, now: float, replaced: KeyHolder | None = None) -> Line | None:
        """The lease is ours; `replaced` is a holder that was known to be gone."""
        before, self._mine, self._renewed_at = self._mine, True, now
        if before:
            return None
        other, seen = replaced or self._other, self._seen or replaced is not None
        self._other, self._seen = None, False
        if not seen:
            return Line(logging.INFO, "Reading the stream: nobody else held the lease.")
        name = STRANGER if other is None else other.node_name
        if replaced is not None and name == self._own_name:
            return Line(logging.INFO, "Reading the stream: took over from an earlier process of this worker.")
        if replaced is not None:
            return Line(logging.WARNING, f"Reading the stream: took over from {name}, whose process is gone.")
        if now < self._expires_at - LEEWAY:
            return Line(logging.INFO, f"Reading the stream: took over from {name}, which gave the lease up.")
        silence = f"had not renewed the lease for {now - self._expires_at + LEASE_SECONDS:.0f} s"
        return Line(logging.WARNING, f"Reading the stream: took over from {name}, which {silence}.")

    def anothers(self, now: float, other: KeyHolder | None, left: float) -> Line | None:
        """Another worker has the lease, or something that is none (None), for `left` seconds unless it renews it."""
        mine, self._mine = self._mine, False
        seen, before = self._seen, self._other
        self._other, self._seen, self._expires_at = other, True, now + left
        name = STRANGER if other is None else other.node_name
        if mine:
            held_up = f"this worker had not renewed it for {now - self._renewed_at:.0f} s"
            return Line(logging.WARNING, f"Lost the lease to {name}: {held_up}. Standing by.")
        if not seen:
            does = "holds the lease" if other is None else "reads the stream"
            return Line(logging.INFO, f"Standing by: {name} {does}.")
        if before != other and _place(before) != _place(other):
            instead = STRANGER if before is None else before.node_name
            return Line(logging.INFO, f"Standing by: {name} reads the stream now, in the place of {instead}.")
        return None

    def given(self) -> None:
        """This worker has given the lease up."""
        self._mine = False


def _place(holder: KeyHolder | None) -> object:
    """What tells one process from another; each lease of a process has a token of its own."""
    return holder and (holder.node_name, holder.place, holder.process_id)
