"""Stream entries in either layout, and what they become once they are decoded."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from dbstorage.wire.trace_context import CARRIED_FIELDS

CREATE_CLOSE_ORDER = "createCloseOrder"
CREATE_USER = "createUser"
GET_CLOSE_ORDERS = "getCloseOrders"

#: What a question is echoed by; numbers come back as numbers.
RequestId: TypeAlias = str | int | float


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


def stream_entries(ids: Iterable[str], fields: Iterable[Fields]) -> list[StreamEntry]:
    """Entries of these ids and fields."""
    # tuple's own `__new__`, because that of a named tuple is written in Python.
    return [tuple.__new__(StreamEntry, entry) for entry in zip(ids, fields, strict=True)]


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


def envelope_text(fields: list[bytes]) -> bytes:
    """The JSON text of an envelope: all its values but those of the trace context."""
    if CARRIED_FIELDS.isdisjoint(fields[::2]):
        return b"".join(fields[1::2])
    pairs = zip(fields[::2], fields[1::2], strict=False)
    return b"".join(value for name, value in pairs if name not in CARRIED_FIELDS)
