"""Commands as fields for the command stream, in either layout: what a client of the service writes."""

from typing import Any

import orjson

from dbstorage.wire.entry import Layout


def encode_command(command: dict[str, Any], layout: Layout = Layout.ENVELOPE) -> dict[bytes, bytes]:
    """The fields of the entry; keys whose value is None are left out of a flat one.

    Raises ValueError for a value that JSON text cannot hold.
    """
    if layout is Layout.ENVELOPE:
        return {b"message": _json(command)}
    return {
        _text(name): _text(value) if isinstance(value, str) else _json(value)
        for name, value in command.items()
        if value is not None
    }


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise ValueError(str(error)) from None


def _text(value: str) -> bytes:
    # Lone surrogates, which JSON lets through, become bytes that are not UTF-8: the service is to refuse them, not we.
    return value.encode(errors="surrogatepass")
