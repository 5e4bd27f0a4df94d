"""Stream entries and what they say, in either layout."""

from contextlib import suppress
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from dbstorage.errors import RejectedEntry
from dbstorage.wire.json_text import parse_json
from dbstorage.wire.trace_context import CARRIED, CARRIED_FIELDS

CREATE_CLOSE_ORDER = "createCloseOrder"
CREATE_USER = "createUser"
GET_CLOSE_ORDERS = "getCloseOrders"

#: The code of an entry that is larger than MAX_ENTRY_BYTES.
TOO_LARGE = "too_large"

#: What a question is echoed by; numbers come back as numbers.
RequestId: TypeAlias = str | int | float

#: The flat fields each function needs; what else stands in an entry may be anything, broken UTF-8 included.
FLAT_FIELDS: dict[str, tuple[str, ...]] = {
    CREATE_CLOSE_ORDER: ("message",),
    CREATE_USER: ("message", "userId", "userEmail"),
    GET_CLOSE_ORDERS: ("message", "userId", "limit", "cursor", "detail"),
}
_ECHOED = ("requestId", "correlationId")
_EXPECTED = 'expected one object such as {"function": "createUser", "message": {…}}.'


class Layout(StrEnum):
    """How an entry spells its command: one JSON object, or one field for each key."""

    ENVELOPE = "envelope"
    FLAT = "flat"


class Truncated(NamedTuple):
    """What is kept of an entry that is too large (see `size`): the beginning of its payload, and what the whole was.

    `length` is that of its names and values, in bytes, `sha256` (hexadecimal) that of its values one behind the other;
    None where nobody has had the entry whole.
    """

    layout: Layout
    start: bytes
    length: int
    sha256: str | None


#: Name, value, name, value … as Redis delivered them, or what is kept of them.
Fields: TypeAlias = list[bytes] | Truncated


class StreamEntry(NamedTuple):
    """An entry of the stream."""

    id: str
    fields: Fields


# Looking a member up costs as much as a tenth of decoding an entry.
_ENVELOPE = Layout.ENVELOPE


class Request(NamedTuple):
    """A decoded entry, or a call through the broker (then without entry id).

    `function` is None where it is missing or not text. `body` is the JSON object of an envelope; of a flat entry the
    fields its function knows, as text, with `message` parsed where it is JSON.
    """

    entry_id: str | None
    layout: Layout
    function: str | None
    body: dict[str, Any]


def layout_of(entry: StreamEntry) -> Layout:
    """The layout of an entry: flat if and only if it has a field `function`."""
    if isinstance(entry.fields, Truncated):
        return entry.fields.layout
    return Layout.FLAT if b"function" in entry.fields[::2] else Layout.ENVELOPE


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


def envelope_text(fields: list[bytes]) -> bytes:
    """The JSON text of an envelope: all its values but those of the trace context."""
    if CARRIED_FIELDS.isdisjoint(fields[::2]):
        return b"".join(fields[1::2])
    pairs = zip(fields[::2], fields[1::2], strict=False)
    return b"".join(value for name, value in pairs if name not in CARRIED_FIELDS)


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
    for name in FLAT_FIELDS.get(function, ()):
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
