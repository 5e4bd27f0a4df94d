"""Decodes entries, in either layout. The kind of command says which fields a flat entry has."""

from contextlib import suppress
from typing import Any

from dbstorage.codes import TOO_LARGE
from dbstorage.commands.registry import KINDS
from dbstorage.errors import RejectedEntry
from dbstorage.wire.entry import GET_CLOSE_ORDERS, Layout, Request, StreamEntry, Truncated, envelope_text
from dbstorage.wire.json_text import parse_json
from dbstorage.wire.trace_context import CARRIED

_ECHOED = ("requestId", "correlationId")
_EXPECTED = 'expected one object such as {"function": "createUser", "message": {…}}.'
# Looking the member up each time would cost a tenth of decoding an entry.
_ENVELOPE = Layout.ENVELOPE


def decode(entry: StreamEntry) -> Request:
    """Decode an entry; raises RejectedEntry (`invalid_entry`, `too_large`) for one that cannot be read."""
    entry_id, fields = entry
    if isinstance(fields, Truncated):
        raise _too_large(fields)
    if len(fields) == 2 and fields[0] != b"function":
        text = fields[1]
    elif b"function" in fields[::2]:
        return _decode_flat(entry_id, fields)
    else:
        text = envelope_text(fields)
    try:
        body = parse_json(text)
    except ValueError as error:
        raise _invalid(f"The entry is not JSON ({error}); {_EXPECTED}") from None
    if type(body) is not dict:
        raise _invalid(f"The entry is JSON but not an object; {_EXPECTED}")
    if len(fields) > 2:
        body |= _carried_fields(dict(zip(fields[::2], fields[1::2], strict=False)))
    function = body.get("function")
    return Request(entry_id, _ENVELOPE, function if type(function) is str else None, body)


def is_question(entry: StreamEntry) -> bool:
    """Whether somebody waits for an answer to this entry; never raises."""
    try:
        return decode(entry).function == GET_CLOSE_ORDERS
    except RejectedEntry:
        return False


def _decode_flat(entry_id: str, fields: list[bytes]) -> Request:
    # A field that stands there twice: the last one counts, as in JSON.
    values = dict(zip(fields[::2], fields[1::2], strict=False))
    function = _text("function", values[b"function"])
    body: dict[str, Any] = {"function": function}
    kind = KINDS.get(function)
    # Other fields are not read: they may hold anything, broken UTF-8 included.
    for name in kind.flat_fields if kind is not None else ():
        raw = values.get(name.encode())
        if raw is not None:
            body[name] = _message(raw) if name == "message" else _text(name, raw)
    for name in _ECHOED:
        # One that is not UTF-8 cannot be echoed: it counts as absent.
        with suppress(KeyError, UnicodeDecodeError):
            body[name] = values[name.encode()].decode()
    return Request(entry_id, Layout.FLAT, function, body | _carried_fields(values))


def _carried_fields(values: dict[bytes, bytes]) -> dict[str, str]:
    """The trace context of fields of its own, which counts more than one in the envelope's object: it came later."""
    return {name: values[name.encode()].decode(errors="replace") for name in CARRIED if name.encode() in values}


def _message(raw: bytes) -> Any:
    try:
        value = parse_json(raw)
    except ValueError:
        return _text("message", raw)
    # A bare number or true stays as written: it is the text of an id, such as 1e3.
    return raw.decode() if isinstance(value, int | float) else value


def _text(name: str, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise _invalid(f"The field {name} is not UTF-8 text ({error.reason} at byte {error.start}).") from None


def _too_large(truncated: Truncated) -> RejectedEntry:
    return RejectedEntry(
        TOO_LARGE,
        f"The entry has {truncated.length:,} bytes, which is more than MAX_ENTRY_BYTES allows, so it was not read; "
        f"its first {len(truncated.start):,} bytes are kept.",
    )


def _invalid(sentence: str) -> RejectedEntry:
    return RejectedEntry("invalid_entry", sentence)
