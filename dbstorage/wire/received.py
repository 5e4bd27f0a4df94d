"""Answers as a client reads them from the response stream."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson


class ReceivedAnswer(NamedTuple):
    """An answer; `request_id` is text here, also where the question's was a number."""

    orders: list[dict[str, Any]]
    request_id: str | None
    in_reply_to: str | None
    has_more: bool
    next_cursor: str | None
    error: str | None


def decode_answer(fields: Mapping[bytes, bytes]) -> ReceivedAnswer | None:
    """The answer in a response entry of either layout; None for an entry that is something else."""
    try:
        if b"function" in fields:
            keys: dict[str, Any] = {name.decode(): value.decode() for name, value in fields.items()}
        else:
            keys = orjson.loads(fields[b"message"])
        orders = orjson.loads(keys["message"])
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(orders, list):
        return None
    return ReceivedAnswer(
        orders,
        request_id_text(keys.get("requestId")),
        keys.get("inReplyTo"),
        keys.get("hasMore") in (True, "true"),
        keys.get("nextCursor"),
        keys.get("error"),
    )


def request_id_text(request_id: Any) -> str | None:
    """A requestId as text: one that was a number is echoed as text in the flat layout."""
    if request_id is None or isinstance(request_id, str):
        return request_id
    return orjson.dumps(request_id).decode()
