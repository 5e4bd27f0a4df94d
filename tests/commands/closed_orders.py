"""A good closed order, and what becomes of it when one value changes."""

from typing import Any

from tests.wire.entries import command, envelope, rejection_of

ORDER = {
    "orderId": "4ef8aa38-9227-4658-9e27-a1c08a6a63ec",
    "userId": "81e74ef5-e8e2-4d94-8ed9-04759531985d",
    "symbol": "sol",
    "type": "buy",
    "quantity": 0.5,
    "leverage": 20,
    "takeProfit": None,
    "stopLoss": 145.08,
    "stippage": None,
    "openPrice": 148.04,
    "closePrice": 148.49287353624223,
    "openTime": "2026-05-05T00:02:38.605Z",
    "closeTime": "2026-05-05T00:35:14.283Z",
    "profitLoss": 0.22643676812111835,
    "closeReason": "take_profit",
}
ABSENT = object()
FIELD = {  # key of the message: field of CloseOrder
    "orderId": "order_id",
    "userId": "user_id",
    "takeProfit": "take_profit",
    "stopLoss": "stop_loss",
    "slippage": "stippage",
    "openPrice": "open_price",
    "closePrice": "close_price",
    "openTime": "open_time",
    "closeTime": "close_time",
    "profitLoss": "profit_loss",
    "closeReason": "close_reason",
}


def message_with(key: str, value: Any) -> dict[str, Any]:
    message = {name: old for name, old in ORDER.items() if name != key}
    return message if value is ABSENT else {**message, key: value}


def stored(key: str, value: Any) -> Any:
    """What is stored for the key when an otherwise good order has this value."""
    return getattr(command(envelope("createCloseOrder", message=message_with(key, value))), FIELD.get(key, key))


def code_for(key: str, value: Any) -> str | None:
    rejection = rejection_of(command, envelope("createCloseOrder", message=message_with(key, value)))
    return rejection.code if rejection else None
