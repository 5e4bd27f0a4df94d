"""Points in time, stored as UTC with milliseconds."""

import re
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

from dbstorage.commands.rejections import rejected

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXPECTED = (
    "an ISO 8601 time such as 2025-01-31T12:00:00.000Z or a number of milliseconds since 1970, in the years 1 to 9999"
)
#: As Date.toISOString() writes it, which is nearly always: what is stored then stands there already. All such times
#: exist; the 29th of February, which has to be looked up, is left out.
JAVASCRIPT_TIME = (
    r"(?!0000)\d{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
    r"T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z"
)
_JAVASCRIPT_TIME = re.compile(JAVASCRIPT_TIME, re.ASCII)
# fromisoformat() alone is laxer: any character may part date and time, so that the digits 1712101012000 are a day in
# 1712, and what follows a NUL may go unread.
_ISO_8601 = re.compile(
    r"(?:\d{4}-\d\d-\d\d|\d{8}|\d{4}-?W\d\d(?:-?\d)?)"
    r"(?:[Tt ]\d\d(?::?\d\d(?::?\d\d(?:[.,]\d+)?)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)


#: Characters of a time as it is stored.
STORED_CHARACTERS = 23


def utc_milliseconds(field: str, value: Any) -> str:
    """A time as text such as `2025-01-31T12:00:00.000`, in UTC, finer digits cut off.

    Takes ISO 8601 text (without offset = UTC) or a number of milliseconds since 1970; raises RejectedEntry.
    """
    if type(value) is str and _JAVASCRIPT_TIME.fullmatch(value):
        return value[:STORED_CHARACTERS]
    try:
        moment = _moment(value)
    except (ValueError, OverflowError):
        moment = None
    if moment is None:
        raise rejected(field, value, _EXPECTED)
    return moment.isoformat(timespec="milliseconds")[:STORED_CHARACTERS]


def _moment(value: Any) -> datetime | None:
    """The time in UTC; None for what has another form, ValueError or OverflowError for a time that does not exist."""
    if type(value) is str and _ISO_8601.fullmatch(value):
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment
    if (type(value) is int or type(value) is float) and isfinite(value):
        return _EPOCH + timedelta(milliseconds=int(value))
    return None
