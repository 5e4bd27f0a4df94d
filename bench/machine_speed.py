"""How fast the machine is while something is measured: shared machines change by a third within a minute."""

import statistics
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple, Self

import orjson

#: Seconds between two samples of a few milliseconds each; together about a hundredth of a core.
INTERVAL = 0.1
REPETITIONS = 3


class Sample(NamedTuple):
    """When the work was done (time.perf_counter), and the CPU seconds that it took."""

    moment: float
    cpu_seconds: float


class MachineSpeed:
    """Does the same small piece of work again and again; it takes more CPU time where the machine is slower.

    Waiting for a core does not count. What runs beside it does, through caches and memory that are shared: compare
    only moments at which the same was measured.
    """

    def __init__(self) -> None:
        self._document = orjson.dumps([{"orderId": f"{n:036}", "price": n * 1.5, "levels": [n, n]} for n in range(400)])
        self._samples: list[Sample] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="machine speed", daemon=True)

    def __enter__(self) -> Self:
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()

    def between(self, begin: float, end: float) -> float:
        """Pieces of work a CPU second (median) between two moments of time.perf_counter.

        Where they are too close together for a sample, in all the time until now.
        """
        samples = list(self._samples)
        return median_speed([sample for sample in samples if begin < sample.moment <= end] or samples)

    def _watch(self) -> None:
        while not self._stopped.wait(INTERVAL):
            self._sample()

    def _sample(self) -> None:
        begun = time.thread_time()
        for _ in range(REPETITIONS):
            self._work()
        self._samples.append(Sample(time.perf_counter(), time.thread_time() - begun))

    def _work(self) -> None:
        """What services do: decode, sort, look up, encode."""
        rows = orjson.loads(self._document)
        rows.sort(key=lambda row: -row["price"])
        orjson.dumps(list({row["orderId"]: row for row in rows}.values()))


def median_speed(samples: Sequence[Sample]) -> float:
    """Pieces of work a CPU second; the median, because a sample now and then holds a collection of garbage."""
    return round(REPETITIONS / statistics.median(sample.cpu_seconds for sample in samples), 1)


def at_equal_speed(rates: Sequence[float], speeds: Sequence[float]) -> list[float]:
    """The rates as they would have been, had the machine been as fast as in the median for all of them."""
    usual = statistics.median(speeds)
    return [rate * usual / speed for rate, speed in zip(rates, speeds, strict=True)]
