"""createCloseOrder: the rules of a closed order."""

from collections import namedtuple
from collections.abc import Callable
from math import isfinite
from typing import Any, TypeAlias

from dbstorage.commands.numbers import finite_number
from dbstorage.commands.rejections import rejected
from dbstorage.commands.text import is_encodable, required_id
from dbstorage.commands.times import utc_milliseconds
from dbstorage.order_columns import ORDER_COLUMNS, ColumnKind

CLOSE_REASON_CHARACTERS = 255

#: What becomes of a value under a key; raises RejectedEntry.
Rule: TypeAlias = Callable[[str, Any], Any]

_NUMBER = "a finite number or the text of one"


def _fields() -> Any:
    return namedtuple("_Fields", [column.field for column in ORDER_COLUMNS])


class CloseOrder(_fields()):  # type: ignore[misc]
    """A closed order, ready to be stored: its fields are those of ORDER_COLUMNS, in their order.

    Times are UTC text such as `2025-01-31T12:00:00.000`.
    """

    __slots__ = ()
    order_id: str
    user_id: str


def close_order(message: dict[str, Any]) -> CloseOrder:
    """The order in the message of a createCloseOrder; raises RejectedEntry for the first field that is wrong."""
    get = message.get
    values = []
    for name, alias, rule in _RULES:
        value = get(name)
        if alias is not None and (value is None or value == ""):
            name, value = alias, get(alias)
        values.append(rule(name, value))
    return CloseOrder(*values)


def _one_of(words: tuple[str, ...]) -> Rule:
    def rule(field: str, value: Any) -> str:
        if type(value) is str and (lower := value.lower()) in words:
            return lower
        raise rejected(field, value, f"{', '.join(words[:-1])} or {words[-1]}")

    return rule


def _amount(field: str, value: Any) -> float:
    if type(value) is float and isfinite(value):
        # Minus zero becomes zero, as JavaScript writes it.
        return value + 0.0
    if value is None or value == "":
        return 0.0
    number = finite_number(value)
    if number is None:
        raise rejected(field, value, _NUMBER)
    return number + 0.0


def _limit(field: str, value: Any) -> float | None:
    # The platform writes 0 where nothing is set.
    return None if value is None else _amount(field, value) or None


def _leverage(field: str, value: Any) -> int:
    if value is None or value == "":
        return 1
    number = finite_number(value)
    if number is None or not -(2**31) <= int(number) < 2**31:
        raise rejected(field, value, "a whole number of at most 32 bits, or the text of one")
    return int(number) or 1


def _remark(_field: str, value: Any) -> str | None:
    """Text, cut to 255 characters; None for anything else, because a remark must not keep an order from its row."""
    if type(value) is not str or "\0" in value or not is_encodable(value):
        return None
    return value[:CLOSE_REASON_CHARACTERS]


_OF_KIND: dict[ColumnKind, Rule] = {
    ColumnKind.ID: required_id,
    ColumnKind.TIME: utc_milliseconds,
    ColumnKind.AMOUNT: _amount,
    ColumnKind.LIMIT: _limit,
    ColumnKind.LEVERAGE: _leverage,
    ColumnKind.REMARK: _remark,
}
#: Of each column, in their order: its key, another key, and its rule.
_RULES: tuple[tuple[str, str | None, Rule], ...] = tuple(
    (column.name, column.alias, _OF_KIND.get(column.kind) or _one_of(column.words)) for column in ORDER_COLUMNS
)
