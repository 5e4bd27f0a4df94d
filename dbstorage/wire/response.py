"""Answers to getCloseOrders, as fields for the response stream."""

from collections.abc import Callable, Sequence
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
_PLAIN = len(ANSWERED_COLUMNS)
# Written out key by key, as `namedtuple` makes its classes: a zip takes two and a half times as long, for up to 1,000
# orders a question.
_plain_order: Callable[[Sequence[Any]], dict[str, Any]] = eval(  # noqa: S307  # made of the table's names alone
    f"lambda row: {{{', '.join(f'{name!r}: row[{n}]' for n, name in enumerate(ANSWERED_COLUMNS))}, 'status': 'closed'}}"
)


class Answer(NamedTuple):
    """What is answered to one question; `orders` are made by `order_as_answered`.

    `in_reply_to` is the question's entry id, None for a question asked through the broker.
    """

    layout: Layout
    orders: list[dict[str, Any]]
    request_id: RequestId | None = None
    in_reply_to: str | None = None
    has_more: bool = False
    next_cursor: str | None = None
    error: str | None = None
    #: The question's trace context.
    trace: dict[str, str] = {}  # noqa: RUF012  # never changed


def order_as_answered(row: Sequence[Any], further: Sequence[str] = ()) -> dict[str, Any]:
    """The keys of a closed order in an answer.

    `row` holds the values of ANSWERED_COLUMNS and those of the columns in `further` behind them. Times are text in
    UTC, as in 2025-01-31T12:00:00.007Z, or None for one that is infinite.
    """
    order = _plain_order(row)
    if further:
        order.update(zip(further, row[_PLAIN:], strict=True))
    return order


def encode_answer(answer: Answer) -> list[bytes]:
    """Name, value, name, value … of the response entry, in the layout of the question."""
    orders = orjson.dumps(answer.orders)
    keys: dict[str, Any] = {"function": GET_CLOSE_ORDERS, "message": orders.decode()}
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
