"""Reading JSON that a JavaScript program wrote."""

import json
from typing import Any

import orjson


def parse_json(text: bytes) -> Any:
    """Parse one JSON value from UTF-8 bytes.

    Lone surrogates, NaN and numbers beyond a double are let through (as text, NaN and infinity), so that only the field
    that holds them is judged. Whole numbers beyond 64 bits become floats. Raises ValueError with the reason.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _parse_leniently(text)


def _parse_leniently(text: bytes) -> Any:
    try:
        # Decoded first: given bytes, the standard library would guess UTF-16 and accept a byte order mark.
        return json.loads(text.decode(), parse_int=_whole_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _whole_number(digits: str) -> int | float:
    # Alike orjson: exact within 64 bits, signed or not. Never int() of a long text: it refuses more than 4,300 digits.
    if len(digits) <= 20 and -(2**63) <= (number := int(digits)) < 2**64:
        return number
    return float(digits)
