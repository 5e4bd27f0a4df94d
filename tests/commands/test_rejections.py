"""The sentences of rejections: what is wrong, and never more of the value than a person can use."""

from typing import Any

import pytest

from dbstorage.commands.rejections import rejected, shown


def test_a_rejection_names_the_field_the_value_and_what_is_accepted():
    rejection = rejected("stopLoss", "12abc", "a finite number")

    assert rejection.code == "invalid_stop_loss"
    assert str(rejection) == 'stopLoss is "12abc"; expected a finite number.'


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
