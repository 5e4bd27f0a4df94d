import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbstorage.wire.entry import Layout
from dbstorage.wire.response import NO_ORDERS, Answer, encode_answer
from tests.wire.entries import steady

ORDERS = '[{"orderId":"o-1"}]'


def test_an_envelope_answer_is_one_field_with_json_inside_json():
    fields = encode_answer(Answer(Layout.ENVELOPE, ORDERS, "r-1", "5-0", True, "next"))

    assert fields[0] == b"message"
    answer = json.loads(fields[1])
    assert json.loads(answer.pop("message")) == [{"orderId": "o-1"}]
    assert answer == {
        "function": "getCloseOrders",
        "requestId": "r-1",
        "correlationId": "r-1",
        "inReplyTo": "5-0",
        "hasMore": True,
        "nextCursor": "next",
    }


def test_a_flat_answer_has_the_same_keys_as_fields():
    fields = encode_answer(Answer(Layout.FLAT, NO_ORDERS, "ü", "5-0", False, None, "unavailable"))

    assert dict(zip(fields[::2], fields[1::2], strict=True)) == {
        b"function": b"getCloseOrders",
        b"message": b"[]",
        b"requestId": "ü".encode(),
        b"correlationId": "ü".encode(),
        b"inReplyTo": b"5-0",
        b"hasMore": b"false",
        b"error": b"unavailable",
    }
    assert b"true" in encode_answer(Answer(Layout.FLAT, NO_ORDERS, has_more=True))


def test_keys_that_do_not_apply_are_left_out():
    fields = encode_answer(Answer(Layout.ENVELOPE, NO_ORDERS))

    assert json.loads(fields[1]) == {"function": "getCloseOrders", "message": "[]", "hasMore": False}


@pytest.mark.parametrize("request_id", [7, 1.5, 0])
def test_a_request_id_that_is_a_number_stays_a_number_in_an_envelope(request_id: float):
    answer = json.loads(encode_answer(Answer(Layout.ENVELOPE, NO_ORDERS, request_id))[1])

    assert answer["requestId"] == answer["correlationId"] == request_id


def _strictly(text: str | bytes) -> Any:
    return json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))


values = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.integers(-(2**31), 2**31)


@steady
@given(
    st.lists(st.dictionaries(st.text(), values, max_size=4), max_size=3),
    st.none() | st.text() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.text(),
)
def test_answers_are_valid_json_twice(orders: list[dict[str, Any]], request_id: Any, text: str | None):
    answer = Answer(Layout.ENVELOPE, json.dumps(orders, ensure_ascii=False), request_id, text, False, text, text)

    envelope = _strictly(encode_answer(answer)[1])
    flat = encode_answer(answer._replace(layout=Layout.FLAT))

    assert len(_strictly(envelope["message"])) == len(orders)
    assert envelope.get("requestId") == request_id
    assert _strictly(flat[3]) == _strictly(envelope["message"])
    assert [name.decode() for name in flat[::2]] == list(envelope)
