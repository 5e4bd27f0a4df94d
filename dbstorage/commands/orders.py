"""createCloseOrder: the rules of a closed order."""

from math import isfinite
from typing import Any, NamedTuple

from dbstorage.commands.numbers import finite_number
from dbstorage.commands.rejections import rejected
from dbstorage.commands.text import is_encodable, required_id
from dbstorage.commands.times import utc_milliseconds

SYMBOLS = ("btc", "sol", "eth")
TYPES = ("buy", "sell")
CLOSE_REASON_CHARACTERS = 255

_NUMBER = "a finite number or the text of one"


class CloseOrder(NamedTuple):
    """A closed order, ready to be stored: times are UTC text such as `2025-01-31T12:00:00.000`."""

    order_id: str
    user_id: str
    symbol: str
    type: str
    quantity: float
    leverage: int
    take_profit: float | None
    stop_loss: float | None
    stippage: float | None
    open_price: float
    close_price: float
    open_time: str
    close_time: str
    profit_loss: float
    close_reason: str | None


def close_order(message: dict[str, Any]) -> CloseOrder:
    """The order in the message of a createCloseOrder; raises RejectedEntry for the first field that is wrong."""
    get = message.get
    stippage = get("stippage")
    return CloseOrder(
        required_id("orderId", get("orderId")),
        required_id("userId", get("userId")),
        _one_of("symbol", get("symbol"), SYMBOLS),
        _one_of("type", get("type"), TYPES),
        _amount("quantity", get("quantity")),
        _leverage(get("leverage")),
        _optional_amount("takeProfit", get("takeProfit")),
        _optional_amount("stopLoss", get("stopLoss")),
        _optional_amount("slippage", get("slippage"))
        if stippage is None or stippage == ""
        else _optional_amount("stippage", stippage),
        _amount("openPrice", get("openPrice")),
        _amount("closePrice", get("closePrice")),
        utc_milliseconds("openTime", get("openTime")),
        utc_milliseconds("closeTime", get("closeTime")),
        _amount("profitLoss", get("profitLoss")),
        _close_reason(get("closeReason")),
    )


def _one_of(field: str, value: Any, choices: tuple[str, ...]) -> str:
    if type(value) is str:
        lower = value.lower()
        if lower in choices:
            return lower
    raise rejected(field, value, f"{', '.join(choices[:-1])} or {choices[-1]}")


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


def _optional_amount(field: str, value: Any) -> float | None:
    # The platform writes 0 where nothing is set.
    return None if value is None else _amount(field, value) or None


def _leverage(value: Any) -> int:
    if value is None or value == "":
        return 1
    number = finite_number(value)
    if number is None or not -(2**31) <= int(number) < 2**31:
        raise rejected("leverage", value, "a whole number of at most 32 bits, or the text of one")
    return int(number) or 1


def _close_reason(value: Any) -> str | None:
    """Text, cut to 255 characters; None for anything else, because a remark must not keep an order from its row."""
    if type(value) is not str or "\0" in value or not is_encodable(value):
        return None
    return value[:CLOSE_REASON_CHARACTERS]
