import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbstorage.wire.entry_id import entry_id_at, milliseconds_of, parse_entry_id, position_of
from tests.wire.entries import steady

numbers = st.integers(0, 2**64 - 1)
pairs = st.tuples(numbers, numbers)


def test_an_id_is_milliseconds_and_a_sequence_number():
    assert parse_entry_id("1746403514283-7") == (1746403514283, 7)
    assert milliseconds_of("1746403514283-7") == 1746403514283
    assert position_of("1-2") == 2**64 + 2
    assert parse_entry_id("18446744073709551615-18446744073709551615") == (2**64 - 1, 2**64 - 1)


@steady
@given(pairs, pairs)
def test_positions_grow_along_the_stream(one: tuple[int, int], other: tuple[int, int]):
    position, other_position = position_of("{}-{}".format(*one)), position_of("{}-{}".format(*other))

    assert (position < other_position) == (one < other)


@steady
@given(pairs)
def test_a_position_leads_back_to_its_id(pair: tuple[int, int]):
    entry_id = "{}-{}".format(*pair)

    assert entry_id_at(position_of(entry_id)) == entry_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "1",
        "1-",
        "-1",
        "a-1",
        "1-1-1",
        "1 -1",
        "+1-1",
        "1_0-1",
        "01-1",
        "1-01",
        "00-0",
        "١-1",
        "18446744073709551616-0",
        "0-18446744073709551616",
        "0-" + "9" * 5000,
    ],
)
def test_what_redis_would_not_hand_out_is_refused(text: str):
    with pytest.raises(ValueError) as error:
        parse_entry_id(text)
    # Shortened, for it may be of any length.
    assert str(error.value) == f"expected an entry id such as 1746403514283-0, not {text[:60]!r}"
