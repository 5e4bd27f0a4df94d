"""Numbers of a command: JSON numbers, or text of one."""

import re
from decimal import Decimal
from math import isfinite
from typing import Any

# The letters of decimal numbers only: float() alone would take 1_000, inf, nan and digits of other scripts.
_NUMERIC_LETTERS = re.compile(r"[0-9.+\-eE \t\n\r\f\v]+")


def finite_number(value: Any) -> float | None:
    """The number that a JSON number or numeric text stands for; None where it stands for no finite one."""
    kind = type(value)
    if kind is not float and kind is not int and not (kind is str and _NUMERIC_LETTERS.fullmatch(value)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def number_text(number: int | float) -> str | None:
    """A number as JavaScript writes it (12.0 is `12`, 1e21 is `1e+21`); None for one that is not finite."""
    if isinstance(number, int) and -(2**63) <= number < 2**64:
        return str(number)
    try:
        number = float(number)
    except OverflowError:
        return None
    if not isfinite(number):
        return None
    text = repr(number)
    if "e" in text and 1e-6 <= abs(number) < 1e21:
        text = f"{Decimal(text):f}"
    # Python pads exponents to two digits and keeps the sign of zero.
    return "0" if number == 0 else text.removesuffix(".0").replace("e-0", "e-")
