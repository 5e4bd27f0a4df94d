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
# fromisoformat() lets any character part date and time: the digits 1712101012000 would be a day in the year 1712.
_DATE_OR_DATE_AND_TIME = re.compile(r"[0-9W-]{7,10}(?:[Tt ].+)?")


def utc_milliseconds(field: str, value: Any) -> str:
    """A time as text such as `2025-01-31T12:00:00.000`, in UTC, finer digits cut off.

    Takes ISO 8601 text (without offset = UTC) or a number of milliseconds since 1970; raises RejectedEntry.
    """
    try:
        if type(value) is str:
            moment = datetime.fromisoformat(value)
            # Exactly as JavaScript writes it, nearly always; the calendar was checked above.
            if len(value) == 24 and value[10] == "T" and value[19] == "." and value[23] == "Z" and value[7] == "-":
                return value[:23]
            if not _DATE_OR_DATE_AND_TIME.fullmatch(value):
                raise rejected(field, value, _EXPECTED)
            moment = moment.astimezone(UTC) if moment.tzinfo else moment
        elif (type(value) is int or type(value) is float) and isfinite(value):
            moment = _EPOCH + timedelta(milliseconds=int(value))
        else:
            raise rejected(field, value, _EXPECTED)
    except (ValueError, OverflowError):
        raise rejected(field, value, _EXPECTED) from None
    return moment.isoformat(timespec="milliseconds")[:23]
