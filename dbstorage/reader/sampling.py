"""Which successes Flower is told of when there are more than it can follow."""

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")

#: Successes a second that are all told. Flower follows about 6,000 at its best, with a core of its own.
ALL_PER_SECOND = 2_000
#: Successes a second that are told when there are more: each costs Flower 0.2 ms, in the middle of a flood.
SAMPLE_PER_SECOND = 100


class Sampler:
    """Chooses all, or in a flood a sample that is spread evenly over each batch; `now` in seconds, never falling."""

    def __init__(self, now: float) -> None:
        self._all = _Allowance(ALL_PER_SECOND, now)
        self._sample = _Allowance(SAMPLE_PER_SECOND, now)

    def choose(self, batch: Sequence[Item], now: float) -> Sequence[Item]:
        """Those of a batch that are told."""
        count = len(batch)
        # What the flood left of this allowance is used up, too, before a batch is told in full again.
        if self._all.take(count, now) == count:
            return batch
        told = self._sample.take(count, now)
        return [batch[index * count // told] for index in range(told)]


class _Allowance:
    """A rate limit: so many a second, where what was not taken is kept for a second at most."""

    def __init__(self, per_second: int, now: float) -> None:
        self._per_second = per_second
        self._left = float(per_second)
        self._refilled = now

    def take(self, wanted: int, now: float) -> int:
        """As many as are left, at most those wanted."""
        self._left = min(self._per_second, self._left + (now - self._refilled) * self._per_second)
        self._refilled = now
        taken = min(wanted, int(self._left))
        self._left -= taken
        return taken
