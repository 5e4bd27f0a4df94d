"""Texts of a command: ids and e-mail addresses."""

from typing import Any

from dbstorage.commands.numbers import number_text
from dbstorage.commands.rejections import rejected

ID_CHARACTERS = 255
EMAIL_CHARACTERS = 320


def required_id(field: str, value: Any) -> str:
    """The text of an orderId or userId; raises RejectedEntry."""
    text = usable_id(value)
    if text is None:
        number = ", or a number that 64 bits hold exactly" if type(value) in (int, float) else ""
        raise rejected(field, value, f"text of 1 to {ID_CHARACTERS} characters{number or _reason(value)}")
    return text


def required_email(value: Any) -> str:
    """The text of a userEmail, as written; raises RejectedEntry."""
    if type(value) is not str or not is_storable(value, EMAIL_CHARACTERS):
        raise rejected("userEmail", value, f"text of 1 to {EMAIL_CHARACTERS} characters{_reason(value)}")
    return value


def usable_id(value: Any) -> str | None:
    """The text of an id, a number as JavaScript writes it; None where it cannot be one."""
    if type(value) is str:
        if value.isascii() and 0 < len(value) <= ID_CHARACTERS and "\0" not in value:
            return value
        text: str | None = value
    elif is_exact(value):
        text = number_text(value)
    else:
        return None
    return text if text is not None and is_storable(text, ID_CHARACTERS) else None


def is_exact(value: Any) -> bool:
    """Whether this is a number that surely came through JSON as it was written: two ids must not become one."""
    if type(value) is int:
        return -(2**63) <= value < 2**64
    return type(value) is float and abs(value) < 2**53


def is_storable(text: str, longest: int) -> bool:
    """Whether PostgreSQL can hold the text and it has 1 to `longest` characters."""
    return 0 < len(text) <= longest and "\0" not in text and (text.isascii() or is_encodable(text))


def is_encodable(text: str) -> bool:
    """Whether the text has no lone surrogates, so that it can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _reason(value: Any) -> str:
    """What is wrong with a text that is refused, where the sentence, which shows its beginning, would not tell."""
    if not isinstance(value, str):
        return ""
    if "\0" in value:
        return " without a NUL character"
    if not is_encodable(value):
        return " without lone surrogates"
    return f", not {len(value)}" if value else ""
