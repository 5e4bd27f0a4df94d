"""getCloseOrders: the rules of a question about a user's closed orders."""

from typing import Any, NamedTuple

from dbstorage.commands.cursor import Cursor, decode_cursor
from dbstorage.commands.numbers import finite_number, number_text
from dbstorage.commands.rejections import rejected
from dbstorage.commands.text import is_encodable, usable_id
from dbstorage.errors import RejectedEntry
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
    if asked is None:
        return HistoryQuestion(None, history_limit, None, False, request_id, "missing_user_id")
    try:
        return HistoryQuestion(
            usable_id(asked),
            _limit(_option(body, "limit"), history_limit),
            _cursor(_option(body, "cursor")),
            _detail(_option(body, "detail")),
            request_id,
            None,
        )
    except RejectedEntry as error:
        return HistoryQuestion(None, history_limit, None, False, request_id, error.code)


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


def _limit(value: Any, history_limit: int) -> int:
    if value is None:
        return history_limit
    number = finite_number(value)
    if number is None or number < 1 or not number.is_integer():
        raise rejected("limit", value, f"a whole number from 1 to {HIGHEST_LIMIT}")
    return min(int(number), HIGHEST_LIMIT)


def _cursor(value: Any) -> Cursor | None:
    if value is None:
        return None
    if type(value) is not str:
        raise rejected("cursor", value, "the nextCursor of an earlier answer")
    return decode_cursor(value)


def _detail(value: Any) -> bool:
    if value is None or value is False or value == "false":
        return False
    if value is True or value == "true":
        return True
    raise rejected("detail", value, "true or false")
