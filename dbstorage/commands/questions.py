"""getCloseOrders: the rules of a question about a user's closed orders."""

from typing import Any, NamedTuple

from dbstorage.commands.cursor import Cursor, decode_cursor
from dbstorage.commands.numbers import finite_number, number_text
from dbstorage.commands.text import is_encodable, usable_id
from dbstorage.wire.entry import RequestId

HIGHEST_LIMIT = 1000


class HistoryQuestion(NamedTuple):
    """A question; one with an `error` is answered with no orders and that code.

    `user_id` is None for a question with an error and for a user that cannot exist; `limit` is 1 to 1,000 orders.
    """

    user_id: str | None
    limit: int
    cursor: Cursor | None
    detail: bool
    request_id: RequestId | None
    error: str | None


def history_question(body: dict[str, Any], history_limit: int) -> HistoryQuestion:
    """The question that a getCloseOrders asks, `history_limit` being the limit of one that names none; never raises."""
    request_id = request_id_of(body)
    asked = asked_user(body)
    limit = _limit(_option(body, "limit"), history_limit)
    given_back = _option(body, "cursor")
    cursor = decode_cursor(given_back)
    detail = _detail(_option(body, "detail"))
    if asked is None:
        error = "missing_user_id"
    elif limit is None:
        error = "invalid_limit"
    elif cursor is None and given_back is not None:
        error = "invalid_cursor"
    elif detail is None:
        error = "invalid_detail"
    else:
        return HistoryQuestion(usable_id(asked), limit, cursor, detail, request_id, None)
    return HistoryQuestion(None, history_limit, None, False, request_id, error)


def asked_user(body: dict[str, Any]) -> str | int | float | None:
    """The text or number that names the user; None where there is none.

    An object or a list names nobody: it is never made into a condition, nor looked behind.
    """
    user_id = body.get("userId")
    if user_id is None or user_id == "":
        user_id = body.get("message")
        if isinstance(user_id, dict):
            user_id = user_id.get("userId")
    if type(user_id) is str:
        return user_id or None
    if type(user_id) is int or type(user_id) is float:
        return None if number_text(user_id) is None else user_id
    return None


def request_id_of(body: dict[str, Any]) -> RequestId | None:
    """What the answer echoes: requestId, else correlationId; only text and numbers that JSON can hold."""
    for name in ("requestId", "correlationId"):
        value = body.get(name)
        if type(value) is str and value and is_encodable(value):
            return value
        if (type(value) is int or type(value) is float) and number_text(value) is not None:
            return value
    return None


def _option(body: dict[str, Any], name: str) -> Any:
    """An option from the top level, else from the message; None where it is absent, null or empty."""
    value = body.get(name)
    message = body.get("message")
    if (value is None or value == "") and isinstance(message, dict):
        value = message.get(name)
    return None if value == "" else value


def _limit(value: Any, history_limit: int) -> int | None:
    """At most so many orders, a number or the text of one; None where it is no whole number from 1 on."""
    if value is None:
        return history_limit
    number = finite_number(value)
    if number is None or number < 1 or not number.is_integer():
        return None
    return min(int(number), HIGHEST_LIMIT)


def _detail(value: Any) -> bool | None:
    """Whether details are asked for; None where that is neither true nor false."""
    if value is None or value is False or value == "false":
        return False
    return True if value is True or value == "true" else None
