"""The sentences that say why a command is refused."""

import re
from typing import Any

from dbstorage.commands.numbers import number_text
from dbstorage.errors import RejectedEntry
from dbstorage.order_columns import ORDER_COLUMNS

#: Key on the wire -> the code of a value that breaks its rule.
CODES_OF_FIELDS = {
    "userEmail": "invalid_user_email",
    **{
        name: f"invalid_{column.field}"
        for column in ORDER_COLUMNS
        for name in (column.name, column.alias)
        if name is not None
    },
}
_SHOWN_CHARACTERS = 40
_LOCAL_PART_OF_EMAIL = re.compile(r"[^\s@]+@")


def rejected(field: str, value: Any, expected: str) -> RejectedEntry:
    """The error for a field whose value breaks its rule; `expected` completes the sentence "… expected …"."""
    return RejectedEntry(CODES_OF_FIELDS[field], f"{field} is {shown(value)}; expected {expected}.")


def shown(value: Any) -> str:
    """A value as a sentence may show it: short, printable, e-mail addresses masked."""
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _shown_text(value)
    if isinstance(value, int | float):
        return number_text(value) or "not a finite number"
    return "an object" if isinstance(value, dict) else "a list"


def without_emails(text: str) -> str:
    """The text with the part before the @ of each e-mail address masked."""
    return _LOCAL_PART_OF_EMAIL.sub("***@", text) if "@" in text else text


def _shown_text(text: str) -> str:
    # Cut far behind what is shown first: a megabyte need not be masked.
    masked = without_emails(text[:400])
    cut = masked[:_SHOWN_CHARACTERS] + ("…" if len(masked) > _SHOWN_CHARACTERS else "")
    return '"' + "".join(map(_printable, cut)) + '"'


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
