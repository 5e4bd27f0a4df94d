"""The ordinary entry, decoded and checked in one step in C: a tenth of the time that the rules take.

It takes only what a program writes that keeps to the contract: texts that need no escape, numbers as numbers, words in
lower case, times as JavaScript writes them. It declines everything else, and the rules (`interpret`) decide. It never
rejects an entry; where it accepts one, the rules would give the same command.
"""

import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

import msgspec

from dbstorage.commands.orders import CLOSE_REASON_CHARACTERS, CloseOrder
from dbstorage.commands.text import EMAIL_CHARACTERS, ID_CHARACTERS
from dbstorage.commands.times import JAVASCRIPT_TIME, STORED_CHARACTERS
from dbstorage.commands.users import CreateUser
from dbstorage.order_columns import ORDER_COLUMNS, ColumnKind
from dbstorage.wire.entry import CREATE_CLOSE_ORDER, CREATE_USER, StreamEntry

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_CHARACTERS)]
_Email = Annotated[str, msgspec.Meta(min_length=1, max_length=EMAIL_CHARACTERS)]
_Leverage = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]

_Number = float | None
#: What an ordinary value is, and what it becomes: an expression in which `{}` is the value. A time is checked before.
_ORDINARY: dict[ColumnKind, tuple[Any, str]] = {
    ColumnKind.ID: (_Id, "{}"),
    ColumnKind.WORD: (str, "{}"),
    ColumnKind.TIME: (str, f"{{}}[:{STORED_CHARACTERS}]"),
    # Nothing is 0, and minus zero becomes zero.
    ColumnKind.AMOUNT: (_Number, "({} or 0.0) + 0.0"),
    ColumnKind.LIMIT: (_Number, "{} or None"),
    ColumnKind.LEVERAGE: (_Leverage | None, "{} or 1"),
    ColumnKind.REMARK: (str | None, f"{{0}} if {{0}} is None else {{0}}[:{CLOSE_REASON_CHARACTERS}]"),
}


def _struct_fields() -> Iterator[tuple[str, Any] | tuple[str, Any, None]]:
    """The wire's own names; what may be left out is None then."""
    for column in ORDER_COLUMNS:
        type_ = Literal[column.words] if column.words else _ORDINARY[column.kind][0]
        for name in (column.name, column.alias):
            if name is not None:
                yield (
                    (name, type_)
                    if column.kind in (ColumnKind.ID, ColumnKind.WORD, ColumnKind.TIME)
                    else (name, type_, None)
                )


_Order: Any = msgspec.defstruct("_Order", list(_struct_fields()), kw_only=True, gc=False)


class _User(msgspec.Struct, gc=False):
    userId: _Id
    userEmail: _Email


class _UserEnvelope(msgspec.Struct, tag_field="function", tag=CREATE_USER, gc=False):
    message: _User


_OrderEnvelope: Any = msgspec.defstruct(
    "_OrderEnvelope", [("message", _Order)], tag_field="function", tag=CREATE_CLOSE_ORDER, gc=False
)
_decode_envelope = msgspec.json.Decoder(_OrderEnvelope | _UserEnvelope).decode
_decode_order = msgspec.json.Decoder(_Order).decode
_decode_user = msgspec.json.Decoder(_User).decode
#: All times of an order at once takes half as long as one after the other.
_are_times = re.compile(
    " ".join(JAVASCRIPT_TIME for column in ORDER_COLUMNS if column.kind is ColumnKind.TIME), re.ASCII
).fullmatch


def _written_out() -> str:
    """The function that makes a CloseOrder, or None, of an `_Order`, column by column."""
    times = []
    values = []
    for column in ORDER_COLUMNS:
        value = f"order.{column.name}"
        if column.alias is not None:
            value = f"(order.{column.alias} if {value} is None else {value})"
        if column.kind is ColumnKind.TIME:
            times.append(f"{{{value}}}")
        values.append(_ORDINARY[column.kind][1].format(value))
    return f"lambda order: new(CloseOrder, ({', '.join(values)})) if are_times(f'{' '.join(times)}') else None"


# As `namedtuple` makes its classes: a loop over the columns takes half as long again, for each entry of the stream.
_close_order: Callable[[Any], CloseOrder | None] = eval(  # noqa: S307  # made of the table's names alone
    # tuple's own `__new__`, because that of a named tuple is written in Python.
    _written_out(),
    {"CloseOrder": CloseOrder, "new": tuple.__new__, "are_times": _are_times},
)


def ordinary_command(entry: StreamEntry) -> CloseOrder | CreateUser | None:
    """The command of an ordinary entry; None for any other, which the rules have to look at. Never raises."""
    fields = entry.fields
    if type(fields) is not list:
        return None
    try:
        if len(fields) != 2 or fields[0] == b"function":
            return _of_flat_entry(fields)
        text = fields[1]
        if not _is_plain(text):
            return None
        message = _decode_envelope(text).message
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    return _close_order(message) if type(message) is _Order else CreateUser(message.userId, message.userEmail)


def _of_flat_entry(fields: list[bytes]) -> CloseOrder | CreateUser | None:
    values = dict(zip(fields[::2], fields[1::2], strict=False))
    function, text = values.get(b"function"), values.get(b"message")
    if text is None or not _is_plain(text):
        return None
    if function == b"createCloseOrder":
        return _close_order(_decode_order(text))
    if function == b"createUser" and b"userId" not in values and b"userEmail" not in values:
        user = _decode_user(text)
        return CreateUser(user.userId, user.userEmail)
    return None


def _is_plain(text: bytes) -> bool:
    """Whether no text in it can hold a NUL character, a lone surrogate or broken UTF-8."""
    return text.isascii() and b"\\" not in text
