"""Entries in hand: what the reader has taken from the stream and not finished."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dbstorage.commands.interpret import identify, identify_undecodable
from dbstorage.errors import RejectedEntry
from dbstorage.storage.outcome import Outcome
from dbstorage.wire.entry import StreamEntry, decode
from dbstorage.worker.requests import StreamRequest


@dataclass(eq=False, slots=True)
class Batch:
    """Entries that go to the pool together, with their task requests in the same order.

    `deliveries` counts how often they were given to a process, restarts of the worker included. `settled` holds the
    outcomes that are safe but not acknowledged yet.
    """

    entries: Sequence[StreamEntry]
    requests: Sequence[StreamRequest]
    deliveries: int = 1
    alone: bool = False
    settled: dict[str, Outcome] = field(default_factory=dict)

    def part(self, indexes: Iterable[int], *, alone: bool | None = None) -> "Batch":
        """A batch of some of these entries."""
        chosen = list(indexes)
        entries = [self.entries[index] for index in chosen]
        return Batch(
            entries,
            [self.requests[index] for index in chosen],
            self.deliveries,
            self.alone if alone is None else alone,
            {entry.id: self.settled[entry.id] for entry in entries if entry.id in self.settled},
        )

    def halves(self) -> "list[Batch]":
        """The batch in two, or as it is where it has one entry."""
        count = len(self.entries)
        if count == 1:
            return [self]
        return [self.part(range(count // 2)), self.part(range(count // 2, count))]

    def singles(self) -> "list[Batch]":
        """Each entry on its own, to be run alone."""
        return [self.part([index], alone=True) for index in range(len(self.entries))]


def receive(entries: Sequence[StreamEntry], hostname: str) -> list[StreamRequest]:
    """Turn entries into task requests."""
    now = time.time()
    requests = []
    for entry in entries:
        try:
            identity = identify(decode(entry))
        except RejectedEntry:
            identity = identify_undecodable(entry.id)
        requests.append(StreamRequest(entry, identity, hostname, now))
    return requests
