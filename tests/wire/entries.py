"""Stream entries for the tests of the pure rooms, and strategies that make any."""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from dbstorage.commands.decode import decode
from dbstorage.commands.interpret import interpret
from dbstorage.errors import RejectedEntry
from dbstorage.wire.entry import StreamEntry

ENTRY_ID = "1746403514283-0"
HISTORY_LIMIT = 100

#: The same examples at every run, and no verdict by the clock.
steady = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def envelope(function: Any, **keys: Any) -> StreamEntry:
    """An entry as the engine writes it."""
    return of_text(json.dumps({"function": function, **keys}))


def of_text(text: str) -> StreamEntry:
    """An envelope whose one field holds this text."""
    return StreamEntry(ENTRY_ID, [b"message", text.encode()])


def flat(**fields: str | bytes) -> StreamEntry:
    """An entry with one field for each key."""
    values: list[bytes] = []
    for name, value in fields.items():
        values += (name.encode(), value.encode() if isinstance(value, str) else value)
    return StreamEntry(ENTRY_ID, values)


def command(entry: StreamEntry) -> Any:
    """The command of an entry; raises RejectedEntry."""
    return interpret(decode(entry), HISTORY_LIMIT)


def rejection_of(action: Callable[..., Any], *arguments: Any) -> RejectedEntry | None:
    """The rejection that the action ends with, None where it ends well; any other exception is the test's failure."""
    try:
        action(*arguments)
    except RejectedEntry as rejection:
        return rejection
    return None


FUNCTIONS = ("createCloseOrder", "createUser", "getCloseOrders")
ORDER_KEYS = ["orderId", "userId", "symbol", "type", "openTime", "closeTime", "closeReason", "takeProfit", "stopLoss"]
NUMBER_KEYS = ["quantity", "leverage", "openPrice", "closePrice", "profitLoss", "stippage", "slippage"]
OTHER_KEYS = ["function", "message", "userEmail", "requestId", "correlationId", "limit", "cursor", "detail"]
KEYS = [*ORDER_KEYS, *NUMBER_KEYS, *OTHER_KEYS]

#: Text with everything that JSON can spell: NUL and lone surrogates too.
any_text = st.text(st.characters(exclude_categories=()), max_size=20)
plausible = st.sampled_from(
    ["", "btc", "SOL", "buy", "12", "1e999", "nan", "2026-05-05T00:35:14.283Z", "u" * 300, "joe@example.com", 0, 2**31]
)
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text | plausible,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | any_text, inner, max_size=4),
    max_leaves=8,
)
_message = st.dictionaries(st.sampled_from(KEYS), any_json, max_size=15)
#: Bodies of requests that come close to real ones, and such that do not.
any_body = st.fixed_dictionaries(
    {"function": st.sampled_from(FUNCTIONS) | any_json},
    optional={"message": _message | any_json, "userId": any_json, "requestId": any_json, "limit": any_json},
)
_any_bytes = st.binary(max_size=30) | any_body.map(lambda body: json.dumps(body).encode())
_any_name = st.sampled_from([key.encode() for key in KEYS]) | st.binary(max_size=5)
#: Entries of any kind, in either layout.
any_entry = st.builds(
    lambda fields: StreamEntry(ENTRY_ID, [part for field in fields for part in field]),
    st.lists(st.tuples(_any_name, _any_bytes | st.sampled_from([name.encode() for name in FUNCTIONS])), max_size=6),
) | any_body.map(lambda body: of_text(json.dumps(body)))
