from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from dbstorage.reader.sampling import ALL_PER_SECOND, SAMPLE_PER_SECOND, Sampler

#: Seconds since the one before, and how many successes a batch has.
batches = st.lists(st.tuples(st.floats(0, 2), st.integers(0, 3_000)), max_size=50)


def told_in(batches: list[tuple[float, int]]) -> list[int]:
    """How many of each batch are told."""
    sampler = Sampler(0.0)
    moments = accumulate(pause for pause, _ in batches)
    return [len(sampler.choose(range(count), now)) for now, (_, count) in zip(moments, batches, strict=True)]


def test_up_to_two_thousand_a_second_all_are_told():
    assert told_in([(0.25, ALL_PER_SECOND // 4)] * 40) == [ALL_PER_SECOND // 4] * 40


def test_a_burst_of_a_seconds_worth_is_told_in_full():
    assert told_in([(0, ALL_PER_SECOND)]) == [ALL_PER_SECOND]


def test_of_a_flood_a_sample_is_told_that_does_not_grow_with_it():
    ten_seconds = [(0.025, 500)] * 400
    assert sum(told_in(ten_seconds)[40:]) <= 9 * SAMPLE_PER_SECOND + 1
    assert sum(told_in(ten_seconds)[40:]) >= 8 * SAMPLE_PER_SECOND


def test_after_a_flood_all_are_told_again():
    told = told_in([(0.025, 500)] * 100 + [(1.0, 1_500)] * 3)
    assert told[-3:] == [1_500] * 3


def test_a_sample_is_spread_evenly_over_its_batch():
    sampler = Sampler(0.0)
    sampler.choose(range(ALL_PER_SECOND), 0.0)
    chosen = sampler.choose(range(10 * SAMPLE_PER_SECOND), 0.0)
    assert list(chosen) == list(range(0, 10 * SAMPLE_PER_SECOND, 10))


@given(batches)
def test_no_second_tells_more_than_flower_can_follow(batches: list[tuple[float, int]]):
    seconds = sum(pause for pause, _ in batches)
    assert sum(told_in(batches)) <= (1 + seconds) * (ALL_PER_SECOND + SAMPLE_PER_SECOND)


@given(batches)
def test_what_is_told_is_part_of_the_batch_in_its_order(batches: list[tuple[float, int]]):
    sampler = Sampler(0.0)
    for _, count in batches:
        chosen = list(sampler.choose(range(count), 0.0))
        assert chosen == sorted(set(chosen) & set(range(count)))
