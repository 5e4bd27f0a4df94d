"""The sender's trace context (W3C): carried from a question to its answer, of no account for the command itself."""

import json
from typing import Any

import pytest

from dbstorage.commands.decode import decode
from dbstorage.wire.entry import Layout, StreamEntry
from dbstorage.wire.payload import pack, unpack
from dbstorage.wire.response import NO_ORDERS, Answer, encode_answer
from dbstorage.wire.trace_context import carried

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
COMMAND = {"function": "getCloseOrders", "userId": "ann"}
FIELDS = {b"traceparent": PARENT.encode(), b"tracestate": b"vendor=1"}
BOTH = {"traceparent": PARENT, "tracestate": "vendor=1"}


def entry(fields: dict[bytes, bytes]) -> StreamEntry:
    return StreamEntry("1-0", [part for pair in fields.items() for part in pair])


def envelope(**more: Any) -> bytes:
    return json.dumps({**COMMAND, **more}).encode()


@pytest.mark.parametrize(
    "fields",
    [
        {b"message": envelope(**BOTH)},
        {b"message": envelope(), **FIELDS},
        {**FIELDS, b"message": envelope()},
        {b"message": envelope()[:9], **FIELDS, b"rest": envelope()[9:]},
        {b"function": b"getCloseOrders", b"userId": b"ann", **FIELDS},
    ],
)
def test_it_stands_at_the_top_level_or_in_fields_of_its_own(fields: dict[bytes, bytes]) -> None:
    request = decode(entry(fields))
    assert (request.function, request.body["userId"]) == ("getCloseOrders", "ann")
    assert carried(request.body) == BOTH


def test_a_field_counts_more_than_a_key() -> None:
    request = decode(entry({b"message": envelope(traceparent="older"), **FIELDS}))
    assert carried(request.body) == BOTH


@pytest.mark.parametrize("value", ["", "x" * 56, 7, None, ["a"], "a\nb", "ä", "\ud800"])
def test_what_cannot_be_sent_on_counts_as_absent(value: Any) -> None:
    assert carried({"traceparent": value, "tracestate": "x" * 513}) == {}


def test_a_traceparent_that_means_nothing_is_sent_on_as_it_came() -> None:
    # Whoever reads it knows its rules; they change with their version.
    assert carried({"traceparent": "cc-nonsense"}) == {"traceparent": "cc-nonsense"}


def test_broken_bytes_in_its_field_cost_the_command_nothing() -> None:
    request = decode(entry({b"message": envelope(), b"traceparent": b"\xff\xfe"}))
    assert request.function == "getCloseOrders"
    assert carried(request.body) == {}


@pytest.mark.parametrize("layout", Layout)
def test_the_answer_has_it_as_it_came(layout: Layout) -> None:
    fields = encode_answer(Answer(layout, NO_ORDERS, trace=BOTH))
    if layout is Layout.ENVELOPE:
        keys = json.loads(fields[1])
    else:
        keys = {name.decode(): value.decode() for name, value in zip(fields[::2], fields[1::2], strict=True)}
    assert {name: keys[name] for name in BOTH} == BOTH


def test_the_payload_that_is_kept_of_an_envelope_is_its_json() -> None:
    layout, payload = pack(entry({b"message": envelope(), **FIELDS}))
    assert payload == envelope()
    assert decode(unpack(layout, payload, "1-0")).body == COMMAND
