"""What was understood of an entry keeps nothing else in memory."""

import gc
import weakref

import pytest

from dbstorage.storage.work import Work, understand
from dbstorage.wire.entry import StreamEntry
from tests.commands.closed_orders import ORDER
from tests.wire.entries import envelope, flat, of_text


class Batch:
    """Holds its works, and makes them in a method of its own."""

    works: list[Work]

    def understand(self, entry: StreamEntry) -> None:
        self.works = [understand(entry, 100)]


@pytest.mark.parametrize(
    "entry",
    [
        envelope("createCloseOrder", message=ORDER),
        envelope("createCloseOrder", message={**ORDER, "openTime": "2025-02-30T00:00:00.000Z"}),
        envelope("createCloseOrder", message={**ORDER, "quantity": "abc"}),
        envelope("createUser", message=7),
        envelope("unheardOf"),
        of_text("{"),
        flat(function=b"\xff", message="x"),
    ],
    ids=range(7),
)
def test_a_batch_is_gone_from_memory_as_soon_as_nobody_holds_it(entry: StreamEntry) -> None:
    batch = Batch()
    alive = weakref.ref(batch)
    gc.disable()
    try:
        batch.understand(entry)
        del batch
        assert alive() is None
    finally:
        gc.enable()
