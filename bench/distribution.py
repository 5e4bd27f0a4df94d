"""Latencies as people compare them: percentiles and a histogram."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

#: Upper ends of the histogram's buckets, in milliseconds; one more holds what is beyond.
BUCKETS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 300, 500, 1_000, 2_000, 5_000)


class Distribution(NamedTuple):
    """Latencies in milliseconds; `histogram` counts by BUCKETS."""

    measured: int
    p50: float
    p95: float
    p99: float
    longest: float
    histogram: list[int]


def distribution(seconds: Sequence[float]) -> Distribution:
    """The distribution of latencies given in seconds; without any, all is 0."""
    milliseconds = sorted(value * 1000 for value in seconds)
    histogram = [0] * (len(BUCKETS) + 1)
    for value in milliseconds:
        histogram[bisect_right(BUCKETS, value)] += 1
    p50, p95, p99, longest = (round(_percentile(milliseconds, share), 2) for share in (0.50, 0.95, 0.99, 1.0))
    return Distribution(len(milliseconds), p50, p95, p99, longest, histogram)


def bucket_names() -> list[str]:
    """What each bucket of the histogram holds."""
    edges = [0, *BUCKETS]
    return [f"{low:,} to {high:,} ms" for low, high in zip(edges, BUCKETS, strict=False)] + [f"over {edges[-1]:,} ms"]


def _percentile(ordered: Sequence[float], share: float) -> float:
    # The smallest measured value that this share of all values does not exceed; nothing is interpolated.
    return ordered[max(0, -(-int(share * 10_000) * len(ordered) // 10_000) - 1)] if ordered else 0.0
