import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbstorage.commands.cursor import Cursor, decode_cursor, encode_cursor
from tests.wire.entries import any_text, steady

times = st.datetimes().map(lambda moment: moment.isoformat(timespec="milliseconds"))
keys = st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@steady
@given(times, keys)
def test_a_cursor_comes_back_as_it_was_given_out(close_time: str, key: int | str):
    cursor = Cursor(close_time, key)

    assert decode_cursor(encode_cursor(cursor)) == cursor


@steady
@given(any_text | st.binary(max_size=60).map(lambda garbage: base64.urlsafe_b64encode(garbage).decode()))
def test_garbage_is_no_cursor_and_never_guessed_at(text: str):
    assert decode_cursor(text) is None


def _encoded(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).decode()


GOOD: list[Any] = [1, "2025-01-31T12:00:00.000", 42]


def test_the_forgeries_below_begin_from_a_good_cursor():
    assert _encoded(GOOD) == encode_cursor(Cursor("2025-01-31T12:00:00.000", 42))


NO_CURSORS: list[Any] = [[], {}, None, 7, "x", GOOD[:2], [*GOOD, 1], [2, *GOOD[1:]], [True, *GOOD[1:]]]
NO_KEYS: list[Any] = [None, True, 1.5, 2**63, -(2**63) - 1, [], {}, "a\0b", "\ud800"]
NO_TIMES: list[Any] = [None, 0, "", "2025-01-31T12:00:00.000Z", "2025-02-30T12:00:00.000", "2025-01-31"]


@pytest.mark.parametrize(
    "text",
    [
        *map(_encoded, NO_CURSORS),
        *(_encoded([GOOD[0], GOOD[1], key]) for key in NO_KEYS),
        *(_encoded([GOOD[0], time, GOOD[2]]) for time in NO_TIMES),
        pytest.param(_encoded(GOOD)[:-1], id="cut off"),
        pytest.param(_encoded(GOOD) + "\n", id="newline"),
        pytest.param(" " + _encoded(GOOD), id="space"),
        pytest.param(_encoded(GOOD) + "====", id="padding"),
        pytest.param(base64.urlsafe_b64encode(json.dumps(GOOD).encode()).decode(), id="spaces inside"),
    ],
)
def test_a_forged_cursor_is_none(text: str):
    assert decode_cursor(text) is None
