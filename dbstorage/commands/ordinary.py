"""The ordinary entry, decoded and checked in one step in C: a tenth of the time that the rules take.

It takes only what a program writes that keeps to the contract: texts that need no escape, numbers as numbers, words in
lower case, times as JavaScript writes them. Whatever is otherwise it declines, and the rules (`interpret`) decide. It
never says that something is wrong; where it says what an entry means, the rules say the same.
"""

from typing import Annotated, Literal

import msgspec

from dbstorage.commands.orders import CLOSE_REASON_CHARACTERS, CloseOrder
from dbstorage.commands.text import EMAIL_CHARACTERS, ID_CHARACTERS
from dbstorage.commands.times import javascript_time
from dbstorage.commands.users import CreateUser
from dbstorage.wire.entry import CREATE_CLOSE_ORDER, CREATE_USER, StreamEntry

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_CHARACTERS)]
_Email = Annotated[str, msgspec.Meta(min_length=1, max_length=EMAIL_CHARACTERS)]
_Leverage = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]


class _Order(msgspec.Struct, gc=False):
    """The wire's own names; what may be left out has its default."""

    orderId: _Id
    userId: _Id
    symbol: Literal["btc", "sol", "eth"]
    type: Literal["buy", "sell"]
    openTime: str
    closeTime: str
    quantity: float | None = None
    leverage: _Leverage | None = None
    takeProfit: float | None = None
    stopLoss: float | None = None
    stippage: float | None = None
    slippage: float | None = None
    openPrice: float | None = None
    closePrice: float | None = None
    profitLoss: float | None = None
    closeReason: str | None = None


class _User(msgspec.Struct, gc=False):
    userId: _Id
    userEmail: _Email


class _OrderEnvelope(msgspec.Struct, tag_field="function", tag=CREATE_CLOSE_ORDER, gc=False):
    message: _Order


class _UserEnvelope(msgspec.Struct, tag_field="function", tag=CREATE_USER, gc=False):
    message: _User


_decode_envelope = msgspec.json.Decoder(_OrderEnvelope | _UserEnvelope).decode
_decode_order = msgspec.json.Decoder(_Order).decode
_decode_user = msgspec.json.Decoder(_User).decode


def ordinary_command(entry: StreamEntry) -> CloseOrder | CreateUser | None:
    """The command of an ordinary entry; None for any other, which the rules have to look at. Never raises."""
    fields = entry.fields
    if type(fields) is not list:
        return None
    try:
        if len(fields) == 2 and fields[0] != b"function":
            return _of_envelope(fields[1])
        return _of_flat_entry(fields)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None


def _of_envelope(text: bytes) -> CloseOrder | CreateUser | None:
    if not _is_plain(text):
        return None
    message = _decode_envelope(text).message
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


def _close_order(order: _Order) -> CloseOrder | None:
    open_time, close_time = javascript_time(order.openTime), javascript_time(order.closeTime)
    if open_time is None or close_time is None:
        return None
    stippage = order.slippage if order.stippage is None else order.stippage
    reason = order.closeReason
    return CloseOrder(
        order.orderId,
        order.userId,
        order.symbol,
        order.type,
        # Nothing is 0, and minus zero becomes zero.
        (order.quantity or 0.0) + 0.0,
        order.leverage or 1,
        order.takeProfit or None,
        order.stopLoss or None,
        stippage or None,
        (order.openPrice or 0.0) + 0.0,
        (order.closePrice or 0.0) + 0.0,
        open_time,
        close_time,
        (order.profitLoss or 0.0) + 0.0,
        reason if reason is None else reason[:CLOSE_REASON_CHARACTERS],
    )
