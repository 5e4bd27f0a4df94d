import json

import pytest

from dbstorage.wire.entry import Layout
from dbstorage.wire.received import ReceivedAnswer, decode_answer, request_id_text
from dbstorage.wire.response import NO_ORDERS, Answer, encode_answer

ORDER = {"orderId": "o", "closePrice": 1.5}


def received(answer: Answer) -> ReceivedAnswer | None:
    fields = encode_answer(answer)
    return decode_answer(dict(zip(fields[::2], fields[1::2], strict=True)))


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("request_id", ["r", "17", 17, 1.5, None])
def test_an_answer_is_read_back_in_either_layout(layout: Layout, request_id: str | int | float | None):
    answer = Answer(layout, json.dumps([ORDER]), request_id, "5-0", True, "cursor", "unavailable")
    expected = ReceivedAnswer([ORDER], request_id_text(request_id), "5-0", True, "cursor", "unavailable")
    assert received(answer) == expected


@pytest.mark.parametrize("layout", Layout)
def test_what_an_answer_leaves_out_is_none(layout: Layout):
    assert received(Answer(layout, NO_ORDERS)) == ReceivedAnswer([], None, None, False, None, None)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {b"message": b"x"},
        {b"other": b'{"message":"[]"}'},
        {b"message": b"[]"},
        {b"message": b"null"},
        {b"message": b'{"message":[]}'},
        {b"message": b'{"message":"{}"}'},
        {b"function": b"getCloseOrders"},
        {b"function": b"\xff", b"message": b"[]"},
    ],
)
def test_an_entry_that_is_no_answer_is_none(fields: dict[bytes, bytes]):
    assert decode_answer(fields) is None
