"""W3C's trace context, which a command may carry: two keys that come back in the answer as they came."""

from collections.abc import Mapping
from typing import Any

#: Their names, with the most characters that each may have.
CARRIED = {"traceparent": 55, "tracestate": 512}
CARRIED_FIELDS = frozenset(name.encode() for name in CARRIED)


def carried(body: Mapping[str, Any]) -> dict[str, str]:
    """The trace context among these keys; what could not be sent on as it came counts as absent."""
    found = {}
    for name, longest in CARRIED.items():
        value = body.get(name)
        if type(value) is str and 0 < len(value) <= longest and value.isascii() and value.isprintable():
            found[name] = value
    return found
