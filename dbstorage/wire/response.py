"""Answers to getCloseOrders, as fields for the response stream."""

from typing import Any, NamedTuple

import orjson

from dbstorage.order_columns import ORDER_COLUMNS, Shown
from dbstorage.wire.entry import GET_CLOSE_ORDERS, Layout, RequestId


def _shown(*answers: Shown) -> tuple[str, ...]:
    return tuple(column.name for column in ORDER_COLUMNS if column.shown in answers)


#: The columns of "Orders" that are answered, in the order of a row's values.
ANSWERED_COLUMNS = _shown(Shown.ALWAYS)
#: Those that `detail` adds behind them, and those that a table with a remark (closeReason) adds.
DETAIL_COLUMNS = _shown(Shown.WITH_REMARK, Shown.WITH_DETAIL)
REMARK_COLUMNS = _shown(Shown.WITH_REMARK)
#: The JSON array of no orders.
NO_ORDERS = "[]"


class Answer(NamedTuple):
    """What is answered to one question; `orders` are the JSON array of a page.

    `in_reply_to` is the question's entry id, None for a question asked through the broker.
    """

    layout: Layout
    orders: str
    request_id: RequestId | None = None
    in_reply_to: str | None = None
    has_more: bool = False
    next_cursor: str | None = None
    error: str | None = None
    #: The question's trace context.
    trace: dict[str, str] = {}  # noqa: RUF012  # never changed


def encode_answer(answer: Answer) -> list[bytes]:
    """Name, value, name, value … of the response entry, in the layout of the question."""
    keys: dict[str, Any] = {"function": GET_CLOSE_ORDERS, "message": answer.orders}
    if answer.request_id is not None:
        keys["requestId"] = keys["correlationId"] = answer.request_id
    if answer.in_reply_to is not None:
        keys["inReplyTo"] = answer.in_reply_to
    keys["hasMore"] = answer.has_more
    if answer.next_cursor is not None:
        keys["nextCursor"] = answer.next_cursor
    if answer.error is not None:
        keys["error"] = answer.error
    keys.update(answer.trace)
    if answer.layout is Layout.ENVELOPE:
        return [b"message", orjson.dumps(keys)]
    fields: list[bytes] = []
    for name, value in keys.items():
        fields += (name.encode(), value.encode() if isinstance(value, str) else orjson.dumps(value))
    return fields
