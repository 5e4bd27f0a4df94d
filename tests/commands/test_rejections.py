"""The sentences of rejections: what is wrong, and never more of the value than a person can use."""

from typing import Any

import pytest

from dbstorage.commands.rejections import rejected, shown
from dbstorage.wire.entry import StreamEntry
from tests.commands.closed_orders import message_with
from tests.wire.entries import command, envelope, rejection_of


def test_a_rejection_names_the_field_the_value_and_what_is_accepted():
    rejection = rejected("stopLoss", "12abc", "a finite number")

    assert rejection.code == "invalid_stop_loss"
    assert str(rejection) == 'stopLoss is "12abc"; expected a finite number.'


ID = "text of 1 to 255 characters"
EMAIL = "text of 1 to 320 characters"
NUMBER = "a finite number or the text of one"
TIME = (
    "an ISO 8601 time such as 2025-01-31T12:00:00.000Z or a number of milliseconds since 1970, in the years 1 to 9999"
)


@pytest.mark.parametrize(
    ("key", "value", "told", "expected"),
    [
        ("orderId", ["o-1"], "a list", ID),
        ("orderId", "", '""', ID),
        ("orderId", "x" * 256, f'"{"x" * 40}…"', f"{ID}, not 256"),
        ("userId", "a\0", r'"a\x00"', f"{ID} without a NUL character"),
        ("userId", "\ud800", r'"\ud800"', f"{ID} without lone surrogates"),
        ("symbol", "doge", '"doge"', "btc, sol or eth"),
        ("type", 1, "1", "buy or sell"),
        ("leverage", 2**31, "2147483648", "a whole number of at most 32 bits, or the text of one"),
        ("quantity", "12abc", '"12abc"', NUMBER),
        ("takeProfit", True, "true", NUMBER),
        ("stippage", {"set": 1}, "an object", NUMBER),
        ("slippage", False, "false", NUMBER),
        ("openTime", "now", '"now"', TIME),
        ("openTime", "2025-02-30", '"2025-02-30"', TIME),
        ("closeTime", None, "missing", TIME),
    ],
)
def test_a_wrong_field_of_an_order_is_told_in_a_sentence(key: str, value: Any, told: str, expected: str):
    rejection = rejection_of(command, envelope("createCloseOrder", message=message_with(key, value)))

    assert str(rejection) == f"{key} is {told}; expected {expected}."


@pytest.mark.parametrize(
    ("email", "told", "expected"),
    [
        (7, "7", EMAIL),
        ("", '""', EMAIL),
        ("x" * 321, f'"{"x" * 40}…"', f"{EMAIL}, not 321"),
        ("\0", r'"\x00"', f"{EMAIL} without a NUL character"),
    ],
)
def test_a_wrong_email_is_named_with_what_is_expected(email: Any, told: str, expected: str):
    rejection = rejection_of(command, envelope("createUser", userId="u-1", userEmail=email))

    assert str(rejection) == f"userEmail is {told}; expected {expected}."


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (envelope("createCloseOrder"), "The message of createCloseOrder is missing; expected the order, an object."),
        (
            envelope("createCloseOrder", message="o"),
            'The message of createCloseOrder is "o"; expected the order, an object.',
        ),
        (
            envelope("createUser", message="u"),
            'The message of createUser is "u"; expected userId and userEmail in an object.',
        ),
        (envelope("drop"), 'function is "drop"; expected createCloseOrder, createUser or getCloseOrders.'),
        (envelope(7), "function is 7; expected createCloseOrder, createUser or getCloseOrders."),
    ],
)
def test_so_is_what_is_no_command(entry: StreamEntry, sentence: str):
    assert str(rejection_of(command, entry)) == sentence


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "missing"),
        (True, "true"),
        (12.0, "12"),
        (float("nan"), "not a finite number"),
        (10**400, "not a finite number"),
        ({"not": ""}, "an object"),
        ([1, 2], "a list"),
        ("", '""'),
        ("btc2", '"btc2"'),
        ("ünï", '"ünï"'),
        ("a\0\n\ud800\u202e", r'"a\x00\n\ud800\u202e"'),
        ("x" * 40, '"' + "x" * 40 + '"'),
        ("x" * 1_000_000, '"' + "x" * 40 + '…"'),
        ("joe.average@example.com", '"***@example.com"'),
        ("joe@example.com, ann@example.com", '"***@example.com, ***@example.com"'),
    ],
    ids=lambda value: str(value)[:20].encode("unicode_escape").decode(),
)
def test_a_value_is_shown_short_printable_and_without_email_addresses(value: Any, text: str):
    assert shown(value) == text
