from bench.distribution import BUCKETS, bucket_names, distribution
from bench.open_loop import Schedule, send_steadily


def test_percentiles_are_latencies_that_were_measured():
    measured = distribution([number / 1000 for number in range(1, 101)])
    assert (measured.p50, measured.p95, measured.p99, measured.longest) == (50, 95, 99, 100)
    assert measured.measured == 100


def test_the_histogram_counts_every_latency_once():
    measured = distribution([0.0004, 0.0015, 0.0015, 0.25, 99])
    counts = dict(zip(bucket_names(), measured.histogram, strict=True))
    assert sum(counts.values()) == 5
    assert counts["0 to 1 ms"] == 1
    assert counts["1 to 2 ms"] == 2
    assert counts["200 to 300 ms"] == 1
    assert counts["over 5,000 ms"] == 1
    assert len(counts) == len(BUCKETS) + 1


def test_nothing_measured_is_no_latency():
    assert distribution([]).longest == 0


def test_an_open_loop_sends_everything_once_and_in_turn():
    sent: list[int] = []
    send_steadily(lambda first, end: sent.extend(range(first, end)), Schedule(start=0.0, rate=50_000.0), 1_200)
    assert sent == list(range(1_200))


def test_entries_are_due_at_a_steady_rate_from_the_start():
    schedule = Schedule(start=100.0, rate=10.0)
    assert schedule.due(5) == 100.5
    assert schedule.count_due(99.9) == 0
    assert schedule.count_due(100.0) == 1
    assert schedule.count_due(100.45) == 5
