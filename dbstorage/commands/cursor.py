"""Cursors: where the next page of a history begins."""

import base64
from typing import Any, NamedTuple

import orjson

from dbstorage.commands.times import utc_milliseconds
from dbstorage.errors import RejectedEntry

_VERSION = 1


class Cursor(NamedTuple):
    """The last order of a page: its closeTime as UTC text, and its "id", or its orderId where the table has no "id"."""

    close_time: str
    key: int | str


def encode_cursor(cursor: Cursor) -> str:
    """The text that is given out as `nextCursor`; opaque to clients."""
    return base64.urlsafe_b64encode(orjson.dumps([_VERSION, cursor.close_time, cursor.key])).decode()


def decode_cursor(text: Any) -> Cursor | None:
    """The cursor that was given out as this text; None for anything else."""
    if type(text) is not str:
        return None
    try:
        _version, close_time, key = orjson.loads(base64.urlsafe_b64decode(text))
        cursor = Cursor(close_time, key)
        storable = _is_key(key) and utc_milliseconds("closeTime", close_time) == close_time
        # Only what we would write ourselves, version included.
        return cursor if storable and encode_cursor(cursor) == text else None
    except (ValueError, TypeError, RejectedEntry):
        return None


def _is_key(key: object) -> bool:
    if type(key) is int:
        return key < 2**63  # JSON has read what lies below -2^63 as a float
    return type(key) is str and "\0" not in key
