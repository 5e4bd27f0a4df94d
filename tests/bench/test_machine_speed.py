import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.machine_speed import REPETITIONS, MachineSpeed, Sample, at_equal_speed, median_speed

rates = st.floats(1, 100_000)


def test_what_was_slow_because_the_machine_was_is_as_fast_at_equal_speed():
    assert at_equal_speed([10_000, 5_000, 20_000], [300, 150, 600]) == [10_000, 10_000, 10_000]


def test_what_was_slow_on_a_machine_as_fast_as_before_stays_slow():
    assert at_equal_speed([10_000, 5_000], [300, 300]) == [10_000, 5_000]


@given(st.lists(rates, min_size=1), st.floats(1, 1_000))
def test_a_steady_machine_changes_no_rate(measured: list[float], speed: float):
    assert at_equal_speed(measured, [speed] * len(measured)) == pytest.approx(measured)


def test_a_single_interrupted_sample_does_not_count():
    usual = [Sample(moment, 0.004) for moment in range(4)]
    assert median_speed([*usual, Sample(5, 4.0)]) == REPETITIONS / 0.004


def test_the_machine_has_a_speed_from_the_first_moment():
    with MachineSpeed() as speed:
        now = time.perf_counter()
        assert speed.between(now, now) > 0
