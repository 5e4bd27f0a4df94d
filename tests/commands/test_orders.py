"""The fields of a closed order: what is accepted, what is stored for it, what is rejected with which code."""

import json
from typing import Any

import pytest

from dbstorage.commands.orders import CloseOrder
from dbstorage.errors import RejectedEntry
from tests.commands.closed_orders import ABSENT, ORDER, code_for, stored
from tests.wire.entries import command, envelope, flat, of_text, rejection_of


def test_the_order_of_the_engine_is_stored_field_by_field():
    assert command(envelope("createCloseOrder", message=ORDER, requestId="r-1")) == CloseOrder(
        order_id="4ef8aa38-9227-4658-9e27-a1c08a6a63ec",
        user_id="81e74ef5-e8e2-4d94-8ed9-04759531985d",
        symbol="sol",
        type="buy",
        quantity=0.5,
        leverage=20,
        take_profit=None,
        stop_loss=145.08,
        stippage=None,
        open_price=148.04,
        close_price=148.49287353624223,
        open_time="2026-05-05T00:02:38.605",
        close_time="2026-05-05T00:35:14.283",
        profit_loss=0.22643676812111835,
        close_reason="take_profit",
    )


def test_a_flat_entry_says_the_same():
    assert command(flat(function="createCloseOrder", message=json.dumps(ORDER))) == command(
        envelope("createCloseOrder", message=ORDER)
    )


@pytest.mark.parametrize("key", ["orderId", "userId"])
class TestIds:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("o-1", "o-1"),
            (" ", " "),
            ("x" * 255, "x" * 255),
            ("Ö😀", "Ö😀"),
            ("😀" * 255, "😀" * 255),
            (123, "123"),
            (0, "0"),
            (-7, "-7"),
            (2**64 - 1, "18446744073709551615"),
            (12.0, "12"),
            (-0.0, "0"),
            (1.5, "1.5"),
            (-(2**63), "-9223372036854775808"),
            (2.0**53 - 1, "9007199254740991"),
            (0.000001, "0.000001"),
            (1.5e-7, "1.5e-7"),
        ],
    )
    def test_text_of_up_to_255_characters_or_a_number_as_javascript_writes_it(self, key: str, value: Any, text: str):
        assert stored(key, value) == text

    @pytest.mark.parametrize("number", ["18446744073709551616", "1e20", "-9223372036854775809", "9007199254740993.0"])
    def test_a_number_that_may_have_been_another_one_is_refused(self, key: str, number: str):
        # Through JSON 123456789012345678901 and …902 become the same: two people would be one.
        message = json.dumps({**ORDER, key: "here"}).replace('"here"', number)
        with pytest.raises(RejectedEntry, match="or a number that 64 bits hold exactly"):
            command(of_text(f'{{"function":"createCloseOrder","message":{message}}}'))

    @pytest.mark.parametrize(
        "value",
        [
            ABSENT,
            None,
            "",
            "x" * 256,
            "a\0b",
            "\ud800",
            True,
            False,
            [],
            ["o-1"],
            {},
            {"not": ""},
            float("nan"),
            float("inf"),
        ],
    )
    def test_anything_else_is_rejected(self, key: str, value: Any):
        assert code_for(key, value) == {"orderId": "invalid_order_id", "userId": "invalid_user_id"}[key]


@pytest.mark.parametrize(
    ("key", "value", "lower"),
    [
        *(("symbol", value, value.lower()) for value in ("btc", "sol", "eth", "BTC", "Sol", "eTH")),
        *(("type", value, value.lower()) for value in ("buy", "sell", "BUY", "Sell")),
    ],
)
def test_symbol_and_type_are_stored_in_lower_case(key: str, value: str, lower: str):
    assert stored(key, value) == lower


@pytest.mark.parametrize("key", ["symbol", "type"])
@pytest.mark.parametrize("value", [ABSENT, None, "", "doge", "hold", "btc ", "b\0tc", "\ud800", 1, True, ["btc"], {}])
def test_any_other_symbol_or_type_is_rejected(key: str, value: Any):
    assert code_for(key, value) == f"invalid_{key}"


@pytest.mark.parametrize("stippage", [None, ""])
def test_slippage_counts_where_stippage_says_nothing(stippage: Any):
    assert command(envelope("createCloseOrder", message={**ORDER, "stippage": stippage, "slippage": 2})).stippage == 2.0


@pytest.mark.parametrize(("stippage", "number"), [(1, 1.0), (0, None)])
def test_stippage_goes_before_slippage(stippage: Any, number: float | None):
    message = {**ORDER, "stippage": stippage, "slippage": 2}

    assert command(envelope("createCloseOrder", message=message)).stippage == number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("manual", "manual"),
        ("", ""),
        ("x" * 300, "x" * 255),
        (ABSENT, None),
        (None, None),
        (7, None),
        (True, None),
        (["manual"], None),
        ({}, None),
        ("a\0b", None),
        ("\ud800", None),
    ],
)
def test_a_close_reason_never_rejects_an_order(value: Any, text: str | None):
    assert stored("closeReason", value) == text


@pytest.mark.parametrize("function", [None, 7, True, [], {}])
def test_unknown_keys_are_ignored_at_every_level(function: Any):
    noise = {
        "status": "closed",
        "function": function,
        "extra": {"deep": [1, None]},
        "lone": "\ud800",
        "nan": float("nan"),
    }

    assert command(
        envelope("createCloseOrder", message={**ORDER, **noise}, **{"lone": "\ud800", "x": [[]]})
    ) == command(envelope("createCloseOrder", message=ORDER))


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 5000, "Infinity", "-Infinity", "NaN"])
def test_a_json_number_that_is_not_finite_is_rejected_with_the_code_of_its_field(number: str):
    text = json.dumps({"function": "createCloseOrder", "message": {**ORDER, "quantity": "@"}}).replace('"@"', number)

    rejection = rejection_of(command, of_text(text))

    assert rejection is not None
    assert rejection.code == "invalid_quantity"
    assert str(rejection) == "quantity is not a finite number; expected a finite number or the text of one."


@pytest.mark.parametrize("message", [ABSENT, None, "", "text", 7, True, []])
def test_a_message_that_is_not_an_object_is_an_invalid_entry(message: Any):
    keys = {} if message is ABSENT else {"message": message}

    with pytest.raises(RejectedEntry, match=r"^The message of createCloseOrder is ") as rejection:
        command(envelope("createCloseOrder", **keys))

    assert rejection.value.code == "invalid_entry"


def test_an_order_without_anything_is_rejected_for_its_first_field():
    assert code_for("orderId", ABSENT) == "invalid_order_id"
    with pytest.raises(RejectedEntry, match=r"^orderId is missing; expected text of 1 to 255 characters\.$"):
        command(envelope("createCloseOrder", message={}))
