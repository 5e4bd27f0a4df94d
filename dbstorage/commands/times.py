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
# As Date.toISOString() writes it, which is nearly always: what is stored then stands there already.
_JAVASCRIPT_TIME = re.compile(r"\d\d\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ", re.ASCII)
# fromisoformat() alone is laxer: any character may part date and time, so that the digits 1712101012000 are a day in
# 1712, and what follows a NUL may go unread.
_ISO_8601 = re.compile(
    r"(?:\d{4}-\d\d-\d\d|\d{8}|\d{4}-?W\d\d(?:-?\d)?)"
    r"(?:[Tt ]\d\d(?::?\d\d(?::?\d\d(?:[.,]\d+)?)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)


def utc_milliseconds(field: str, value: Any) -> str:
    """A time as text such as `2025-01-31T12:00:00.000`, in UTC, finer digits cut off.

    Takes ISO 8601 text (without offset = UTC) or a number of milliseconds since 1970; raises RejectedEntry.
    """
    try:
        if type(value) is str:
            if _JAVASCRIPT_TIME.fullmatch(value):
                datetime.fromisoformat(value)  # raises ValueError for a day or an hour that does not exist
                return value[:23]
            if not _ISO_8601.fullmatch(value):
                raise rejected(field, value, _EXPECTED)
            moment = datetime.fromisoformat(value)
            moment = moment.astimezone(UTC) if moment.tzinfo else moment
        elif (type(value) is int or type(value) is float) and isfinite(value):
            moment = _EPOCH + timedelta(milliseconds=int(value))
        else:
            raise rejected(field, value, _EXPECTED)
    except (ValueError, OverflowError):
        raise rejected(field, value, _EXPECTED) from None
    return moment.isoformat(timespec="milliseconds")[:23]
