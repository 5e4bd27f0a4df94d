"""Cursors: where the next page of a history begins."""

import base64
import re
from datetime import date
from typing import Any, NamedTuple

import orjson

from dbstorage.commands.times import utc_milliseconds
from dbstorage.errors import RejectedEntry

_VERSION = 1
#: Times that the contract does not know, but a table may hold: finer than milliseconds, before Christ, far or infinite.
#: As PostgreSQL writes them.
_ANY_TIME = re.compile(r"(\d{4,6})-(\d\d)-(\d\d) (?:[01]\d|2[0-3])(?::[0-5]\d){2}(?:\.\d{1,6})?( BC)?", re.ASCII)
_INFINITE = ("infinity", "-infinity")
#: The years that PostgreSQL knows.
_FIRST_YEAR, _LAST_YEAR = 4713, 294_276


class Cursor(NamedTuple):
    """The last order of a page: its closeTime as UTC text, and its "id", or its orderId where the table has no "id".

    The text is as in 2025-01-31T12:00:00.000; a time that this does not tell exactly is written as PostgreSQL does.
    """

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
        storable = _is_key(key) and (
            _is_any_time(close_time) or utc_milliseconds("closeTime", close_time) == close_time
        )
        # Only what we would write ourselves, version included.
        return cursor if storable and encode_cursor(cursor) == text else None
    except (ValueError, TypeError, RejectedEntry):
        return None


def _is_any_time(text: object) -> bool:
    if type(text) is not str or text in _INFINITE:
        return type(text) is str
    parts = _ANY_TIME.fullmatch(text)
    if parts is None:
        return False
    year, before_christ = int(parts[1]), parts[4] is not None
    if not 1 <= year <= (_FIRST_YEAR if before_christ else _LAST_YEAR):
        return False
    # The calendar repeats itself every 400 years.
    date((1 - year if before_christ else year) % 400 + 2000, int(parts[2]), int(parts[3]))
    return True


def _is_key(key: object) -> bool:
    if type(key) is int:
        return key < 2**63  # JSON has read what lies below -2^63 as a float
    return type(key) is str and "\0" not in key
