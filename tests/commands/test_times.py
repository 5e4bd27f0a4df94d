"""The times of a closed order: what is accepted, what is stored for it, what is rejected with which code."""

import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbstorage.commands.times import utc_milliseconds
from dbstorage.errors import RejectedEntry
from tests.commands.closed_orders import ABSENT, code_for, stored
from tests.wire.entries import any_text, steady


@pytest.mark.parametrize("key", ["openTime", "closeTime"])
class TestTimes:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("2026-05-05T00:35:14.283Z", "2026-05-05T00:35:14.283"),
            ("2026-05-05T00:35:14.283", "2026-05-05T00:35:14.283"),
            ("2026-05-05T00:35:14.283999Z", "2026-05-05T00:35:14.283"),
            ("2026-05-05T00:35:14.283999999Z", "2026-05-05T00:35:14.283"),
            ("2026-05-05T00:35:14Z", "2026-05-05T00:35:14.000"),
            ("2026-05-05T00:35:14.9Z", "2026-05-05T00:35:14.900"),
            ("2026-05-05 00:35:14", "2026-05-05T00:35:14.000"),
            ("2026-05-05t00:35", "2026-05-05T00:35:00.000"),
            ("2026-05-05", "2026-05-05T00:00:00.000"),
            ("20260505T003514Z", "2026-05-05T00:35:14.000"),
            ("20260505", "2026-05-05T00:00:00.000"),
            ("2026-W19-2T00:35:14.283Z", "2026-05-05T00:35:14.283"),
            ("2026-05-05T00:35:14.283+05:45", "2026-05-04T18:50:14.283"),
            ("2026-05-05T00:35:14.283-0800", "2026-05-05T08:35:14.283"),
            ("2026-05-05T00:35:14,283-08", "2026-05-05T08:35:14.283"),
            ("2024-02-29T23:59:59.999Z", "2024-02-29T23:59:59.999"),
            ("0001-01-01T00:00:00.000Z", "0001-01-01T00:00:00.000"),
            ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999"),
            (1777941314283, "2026-05-05T00:35:14.283"),
            (1777941314283.9, "2026-05-05T00:35:14.283"),
            (0, "1970-01-01T00:00:00.000"),
            (-1, "1969-12-31T23:59:59.999"),
            (-0.5, "1970-01-01T00:00:00.000"),
            (-62135596800000, "0001-01-01T00:00:00.000"),
            (253402300799999, "9999-12-31T23:59:59.999"),
        ],
    )
    def test_iso_8601_or_milliseconds_since_1970_are_stored_in_utc(self, key: str, value: Any, text: str):
        assert stored(key, value) == text

    @pytest.mark.parametrize(
        "value",
        [
            ABSENT,
            None,
            "",
            " ",
            "abc",
            "now",
            "2026",
            "2026-05",
            "2026-125",
            "12:00",
            " 2026-05-05",
            "2026-05-05T",
            "2026-05-05x00:35:14.283Z",
            "2026-05-05T00:35:14.283ZZ",
            "2026-05-05T00:35:14:283Z",
            "2026-05-05T00:35:14.283+00:00:01",
            "2026-02-30T00:00:00.000Z",
            "2025-02-29",
            "2026-13-01",
            "2026-05-05T24:00:00.001Z",
            "2026-05-05T00:60:00.000Z",
            "2026-05-05T00:35:60.283Z",
            "10000-01-01T00:00:00.000Z",
            "0000-01-01T00:00:00.000Z",
            "+002026-05-05T00:00:00Z",
            "0001-01-01T00:00:00.000+00:01",
            "9999-12-31T23:59:59.999-00:01",
            "２０26-05-05",
            "2026-05-05T00:00:00\0",
            "2026-05-05T00:00:00\0Z",
            "2026-05-05T00:35:14.2Z\0Z",
            "2026-05-05\ud80000:00",
            # Digits alone are neither: fromisoformat() would read the first as a day in the year 1712.
            "1712101012000",
            "1777941314283",
            pytest.param("2" * 1_000_000, id="a megabyte of digits"),
            -62135596800001,
            253402300800000,
            10**30,
            1e300,
            float("nan"),
            float("inf"),
            True,
            False,
            [],
            {},
        ],
    )
    def test_anything_else_is_rejected(self, key: str, value: Any):
        assert code_for(key, value) == {"openTime": "invalid_open_time", "closeTime": "invalid_close_time"}[key]


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Kathmandu")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_from_utc")
def test_a_time_means_the_same_wherever_the_worker_runs():
    assert utc_milliseconds("openTime", "2026-05-05T00:35:14") == "2026-05-05T00:35:14.000"
    assert utc_milliseconds("openTime", "2026-05-05T00:35:14+01:00") == "2026-05-04T23:35:14.000"
    assert utc_milliseconds("openTime", 1777941314283) == "2026-05-05T00:35:14.283"


FIRST = -62135596800000  # 0001-01-01T00:00:00.000Z in milliseconds since 1970
LAST = 253402300799999  # 9999-12-31T23:59:59.999Z


def _by_hand(milliseconds: int) -> str | None:
    """The text of a time, None for one outside the years 1 to 9999."""
    if not FIRST <= milliseconds <= LAST:
        return None
    seconds, rest = divmod(milliseconds - FIRST, 1000)
    days, second = divmod(seconds, 86_400)
    return f"{date.fromordinal(days + 1)}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{rest:03}"


def _stored_or_none(value: Any) -> str | None:
    try:
        return utc_milliseconds("openTime", value)
    except RejectedEntry:
        return None


@steady
@given(
    st.dates(),
    st.integers(0, 86_399),
    st.text("0123456789", max_size=9),
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
    st.sampled_from("Tt "),
)
def test_any_offset_and_any_fraction_agree_with_counting_by_hand(
    day: date, second: int, fraction: str, offset: int, separator: str
):
    clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}{'.' if fraction else ''}{fraction}"
    text = f"{day}{separator}{clock}{'-' if offset < 0 else '+'}{abs(offset) // 60:02}:{abs(offset) % 60:02}"

    seconds = (day.toordinal() - 1) * 86_400 + second - offset * 60
    assert _stored_or_none(text) == _by_hand(FIRST + seconds * 1000 + int((fraction + "000")[:3]))


@steady
@given(st.integers(FIRST - 10, LAST + 10) | st.integers(FIRST - 10, FIRST + 10) | st.integers(LAST - 10, LAST + 10))
def test_milliseconds_agree_with_counting_by_hand(milliseconds: int):
    assert _stored_or_none(milliseconds) == _by_hand(milliseconds)


# Letters that times are made of, where the quick way for JavaScript's own format could be fooled.
almost = st.text("0123456789-:.,TtZzW+ ", min_size=24, max_size=24)
_template = "2026-05-05T00:35:14.283Z"


@steady
@given(
    almost | st.builds(lambda at, letter: _template[:at] + letter + _template[at + 1 :], st.integers(0, 23), any_text)
)
def test_what_is_accepted_means_what_the_standard_library_reads(text: str):
    stored = _stored_or_none(text)

    if stored is not None:
        moment = datetime.fromisoformat(text).replace(tzinfo=None) - (
            datetime.fromisoformat(text).utcoffset() or timedelta()
        )
        assert stored == moment.isoformat(timespec="milliseconds")
