import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbstorage.commands.decode import decode
from dbstorage.errors import RejectedEntry
from dbstorage.wire.entry import Layout, StreamEntry
from tests.wire.entries import ENTRY_ID, any_entry, envelope, flat, of_text, rejection_of, steady

EXPECTED = r'; expected one object such as \{"function": "createUser", "message": \{…\}\}\.'
NOT_JSON = rf"The entry is not JSON \([^\n]+\){EXPECTED}"
TOO_DEEP = rf"The entry is not JSON \(it is nested too deeply\){EXPECTED}"
NO_OBJECT = rf"The entry is JSON but not an object{EXPECTED}"
NOT_UTF8 = r"The field {} is not UTF-8 text \(invalid start byte at byte {}\)\."


def test_an_envelope_is_the_json_object_of_its_single_field():
    request = decode(envelope("createUser", message={"userId": "u-1"}, requestId="r-1"))

    assert request.entry_id == ENTRY_ID
    assert request.layout is Layout.ENVELOPE
    assert request.function == "createUser"
    assert request.body == {"function": "createUser", "message": {"userId": "u-1"}, "requestId": "r-1"}


@steady
@given(cuts=st.lists(st.integers(0, 80), max_size=8), names=st.lists(st.binary(max_size=4), min_size=9, max_size=9))
def test_an_envelope_may_be_cut_into_any_number_of_fields(cuts: list[int], names: list[bytes]):
    whole = '{"function":"createUser","message":{"userId":"ü-1","userEmail":"joe@example.com"}}'.encode()
    edges = [0, *sorted(cuts), len(whole)]
    pieces = [whole[start:end] for start, end in pairwise(edges)]
    fields = [part for name, piece in zip(names, pieces, strict=False) for part in (name, piece)]

    assert decode(StreamEntry(ENTRY_ID, fields)) == decode(StreamEntry(ENTRY_ID, [b"message", whole]))


def test_ten_thousand_fields_are_one_envelope():
    whole = json.dumps({"function": "createUser", "message": {"userId": "u" * 10_000}})
    fields = [part for letter in whole.encode() for part in (b"f", bytes([letter]))]

    assert decode(StreamEntry(ENTRY_ID, fields)).body["message"] == {"userId": "u" * 10_000}


def test_a_field_named_function_makes_an_entry_flat():
    request = decode(flat(function="createUser", message='{"userId":"u-1"}', userEmail="joe@example.com"))

    assert request.layout is Layout.FLAT
    assert request.function == "createUser"
    assert request.body["message"] == {"userId": "u-1"}
    assert request.body["userEmail"] == "joe@example.com"


def test_of_a_flat_field_that_stands_there_twice_the_last_one_counts():
    entry = StreamEntry(ENTRY_ID, [b"userId", b"first", b"function", b"getCloseOrders", b"userId", b"second"])

    assert decode(entry).body["userId"] == "second"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('{"userId":"u-1"}', {"userId": "u-1"}),
        ('{"userId":{"not":""}}', {"userId": {"not": ""}}),
        ("u-1", "u-1"),
        ('"u-1"', "u-1"),
        ("123", "123"),
        ("1e3", "1e3"),
        ("007", "007"),
        ("NaN", "NaN"),
        ("true", "true"),
        ("null", None),
        ('["u-1"]', ["u-1"]),
        ("{broken", "{broken"),
        ("", ""),
    ],
)
def test_a_flat_message_is_json_or_a_bare_string(written: str, read: object):
    assert decode(flat(function="getCloseOrders", message=written)).body["message"] == read


@pytest.mark.parametrize("written", ["u-1", '"u-1"', '{"userId":"u-1"}', "1e3", "null", ""])
def test_any_other_flat_field_is_text_as_it_stands(written: str):
    assert decode(flat(function="getCloseOrders", userId=written)).body["userId"] == written


def test_flat_fields_that_nobody_needs_may_hold_anything():
    entry = flat(function="createUser", message=b'{"userId":"u-1"}', limit=b"\xff", note=b"\xff", requestId=b"\xff")

    assert decode(entry).body == {"function": "createUser", "message": {"userId": "u-1"}}


def test_a_flat_request_id_that_is_not_utf8_counts_as_absent():
    entry = flat(function="getCloseOrders", userId="u-1", requestId=b"\xff", correlationId="c-1")

    assert decode(entry).body == {"function": "getCloseOrders", "userId": "u-1", "correlationId": "c-1"}


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        pytest.param(StreamEntry(ENTRY_ID, []), NOT_JSON, id="no fields"),
        pytest.param(of_text(""), NOT_JSON, id="empty"),
        pytest.param(of_text("null"), NO_OBJECT, id="null"),
        pytest.param(of_text("[]"), NO_OBJECT, id="list"),
        pytest.param(of_text('"createUser"'), NO_OBJECT, id="text"),
        pytest.param(of_text("{"), NOT_JSON, id="cut off"),
        pytest.param(of_text("{}{}"), NOT_JSON, id="two objects"),
        pytest.param(of_text('\ufeff{"function":"createUser"}'), NOT_JSON, id="byte order mark"),
        pytest.param(of_text("[" * 1_000_000), TOO_DEEP, id="a megabyte of nesting"),
        pytest.param(of_text('{"a":' * 200_000), TOO_DEEP, id="a megabyte of nested objects"),
        pytest.param(of_text('{"a":"\\ud800","b":' + "[" * 200_000), TOO_DEEP, id="nesting behind a lone surrogate"),
        pytest.param(of_text("9" * 5_000), NO_OBJECT, id="a number of 5,000 digits"),
        pytest.param(StreamEntry(ENTRY_ID, [b"message", b'{"function":"\xff"}']), NOT_JSON, id="broken UTF-8"),
        pytest.param(StreamEntry(ENTRY_ID, [b"message", '{"a":1}'.encode("utf-16")]), NOT_JSON, id="UTF-16"),
        pytest.param(flat(function=b"\xff"), NOT_UTF8.format("function", 0), id="flat: function is broken UTF-8"),
        pytest.param(
            flat(function="createUser", message=b"\xff"),
            NOT_UTF8.format("message", 0),
            id="flat: message is broken UTF-8",
        ),
        pytest.param(
            flat(function="createUser", message=b'{"userId":"\xff"}'),
            NOT_UTF8.format("message", 11),
            id="flat: broken UTF-8 in JSON",
        ),
        pytest.param(
            flat(function="getCloseOrders", userId=b"\xff"),
            NOT_UTF8.format("userId", 0),
            id="flat: userId is broken UTF-8",
        ),
        pytest.param(
            flat(function="createUser", userId=b"\xff"), NOT_UTF8.format("userId", 0), id="flat: a createUser's userId"
        ),
    ],
)
def test_an_entry_that_cannot_be_read_is_rejected(entry: StreamEntry, reason: str):
    with pytest.raises(RejectedEntry) as rejection:
        decode(entry)

    assert rejection.value.code == "invalid_entry"
    assert re.fullmatch(reason, str(rejection.value))


@pytest.mark.parametrize("function", ["null", "7", "[]", "{}", "true"])
def test_a_function_that_is_not_text_is_none(function: str):
    assert decode(of_text(f'{{"function":{function}}}')).function is None


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("18446744073709551616", 2.0**64),
        ("-9223372036854775809", -(2.0**63)),
        ("9" * 300, 1e300),
        ("-0", 0),
    ],
)
@pytest.mark.parametrize("ignored", ['"plain"', '"\\ud800"'], ids=["strict parser", "lenient parser"])
def test_both_parsers_read_whole_numbers_alike(number: str, value: float, ignored: str):
    read = decode(of_text(f'{{"number":{number},"ignored":{ignored}}}')).body["number"]

    assert read == value
    assert type(read) is type(value)


@steady
@given(any_entry)
def test_nothing_but_a_rejection_is_ever_raised(entry: StreamEntry):
    rejection = rejection_of(decode, entry)

    assert rejection is None or (rejection.code == "invalid_entry" and str(rejection).isprintable())
