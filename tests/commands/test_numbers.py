"""The numbers of a closed order: what is accepted, what is stored for it, what is rejected with which code."""

from typing import Any

import pytest

from dbstorage.commands.interpret import identify, interpret
from dbstorage.commands.numbers import number_text
from dbstorage.wire.entry import Layout, Request
from tests.commands.closed_orders import ABSENT, ORDER, code_for, stored
from tests.wire.entries import rejection_of

TEXTS_OF_NUMBERS = [("1.5", 1.5), ("-2", -2.0), (" 3 ", 3.0), ("\t4\n", 4.0), ("+5", 5.0), (".5", 0.5), ("5.", 5.0)]
NUMBERS = [
    (0.25, 0.25),
    (7, 7.0),
    (-7, -7.0),
    (1.7976931348623157e308, 1.7976931348623157e308),
    (5e-324, 5e-324),
    (10**30, 1e30),
    ("1e3", 1000.0),
    ("1E-3", 0.001),
    ("1" * 400 + "e-400", 0.1111111111111111),
    *TEXTS_OF_NUMBERS,
]
NOT_NUMBERS: list[Any] = [
    "abc",
    "12abc",
    " ",
    "-",
    ".",
    "e5",
    "1e",
    "1 2",
    "1,5",
    "1_000",
    "0x10",
    "inf",
    "-Infinity",
    "NaN",
    "nan",
    "١٢",
    "１",
    "\u00a01",
    "1e999",
    "-1e999",
    "1\0",
    "\ud800",
    "9" * 5000,
    float("nan"),
    float("inf"),
    float("-inf"),
    True,
    False,
    [],
    [1],
    {},
    {"set": 1},
]
AMOUNTS = {
    "quantity": "invalid_quantity",
    "openPrice": "invalid_open_price",
    "closePrice": "invalid_close_price",
    "profitLoss": "invalid_profit_loss",
}
OPTIONAL_AMOUNTS = {
    "takeProfit": "invalid_take_profit",
    "stopLoss": "invalid_stop_loss",
    "stippage": "invalid_stippage",
    "slippage": "invalid_stippage",
}


@pytest.mark.parametrize("key", AMOUNTS)
class TestAmounts:
    @pytest.mark.parametrize(("value", "number"), NUMBERS)
    def test_a_number_or_the_text_of_one(self, key: str, value: Any, number: float):
        assert stored(key, value) == number
        assert type(stored(key, value)) is float

    @pytest.mark.parametrize("value", [ABSENT, None, "", 0, "0", -0.0, "-0"])
    def test_nothing_is_0(self, key: str, value: Any):
        # By its text, which tells zero from minus zero.
        assert str(stored(key, value)) == "0.0"

    @pytest.mark.parametrize("value", NOT_NUMBERS)
    def test_what_is_no_finite_number_is_rejected_and_never_0(self, key: str, value: Any):
        assert code_for(key, value) == AMOUNTS[key]


@pytest.mark.parametrize("key", OPTIONAL_AMOUNTS)
class TestOptionalAmounts:
    @pytest.mark.parametrize(("value", "number"), NUMBERS)
    def test_a_number_or_the_text_of_one(self, key: str, value: Any, number: float):
        assert stored(key, value) == number

    @pytest.mark.parametrize("value", [ABSENT, None, "", 0, 0.0, -0.0, "0", "0.00", "1e-999"])
    def test_nothing_and_0_are_null(self, key: str, value: Any):
        assert stored(key, value) is None

    @pytest.mark.parametrize("value", NOT_NUMBERS)
    def test_what_is_no_finite_number_is_rejected(self, key: str, value: Any):
        assert code_for(key, value) == OPTIONAL_AMOUNTS[key]


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (20, 20),
        (-5, -5),
        (2.9, 2),
        (-2.9, -2),
        ("10", 10),
        (" 10.7 ", 10),
        ("1e3", 1000),
        (ABSENT, 1),
        (None, 1),
        ("", 1),
        (0, 1),
        ("0", 1),
        (0.9, 1),
        (-0.0, 1),
        (2**31 - 1, 2**31 - 1),
        (2**31 - 0.5, 2**31 - 1),
        (-(2**31), -(2**31)),
    ],
)
def test_leverage_is_a_whole_number_with_its_fraction_cut_off(value: Any, number: int):
    assert stored("leverage", value) == number
    assert type(stored("leverage", value)) is int


@pytest.mark.parametrize("value", [*NOT_NUMBERS, 2**31, -(2**31) - 1, "2147483648", 1e300, 10**30])
def test_a_leverage_that_is_no_number_of_32_bits_is_rejected(value: Any):
    assert code_for("leverage", value) == "invalid_leverage"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (2**64 - 1, "18446744073709551615"),
        (2**64, "18446744073709552000"),
        (-(2**63), "-9223372036854775808"),
        (-(2**63) - 1, "-9223372036854776000"),
        (10**21, "1e+21"),
        (10**400, None),
    ],
)
def test_a_whole_number_is_written_exactly_within_64_bits_and_beyond_them_as_javascript_does(
    number: int, text: str | None
):
    assert number_text(number) == text


@pytest.mark.parametrize(("key", "code"), [("quantity", "invalid_quantity"), ("orderId", "invalid_order_id")])
def test_a_whole_number_without_bounds_is_rejected_in_a_call_through_the_broker(key: str, code: str):
    request = Request(None, Layout.ENVELOPE, "createCloseOrder", {"message": {**ORDER, key: 10**400}})

    rejection = rejection_of(interpret, request, 100)

    assert rejection
    assert rejection.code == code
    assert identify(request).name == "createCloseOrder"
