"""Cursors: where the next page of a history begins."""

import base64
from typing import NamedTuple

import orjson

from dbstorage.commands.rejections import rejected
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


def decode_cursor(text: str) -> Cursor:
    """The cursor that was given out as this text; raises RejectedEntry (`invalid_cursor`) for any other text."""
    try:
        _version, close_time, key = orjson.loads(base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True))
        cursor = Cursor(close_time, key)
        storable = _is_key(key) and utc_milliseconds("cursor", close_time) == close_time
        # Only what we would write ourselves, version included.
        if storable and encode_cursor(cursor) == text:
            return cursor
    except (ValueError, TypeError, RejectedEntry):
        pass
    raise rejected("cursor", text, "the nextCursor of an earlier answer")


def _is_key(key: object) -> bool:
    if type(key) is int:
        return -(2**63) <= key < 2**63
    return type(key) is str and "\0" not in key
