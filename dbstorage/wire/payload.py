"""The bytes of an entry as they are kept with a failed task, and back."""

import re
from collections.abc import Iterator, Sequence

from dbstorage.wire.entry import Layout, StreamEntry, Truncated, layout_of
from dbstorage.wire.trace_context import CARRIED_FIELDS

_NUMBER = re.compile(rb"([*$])([0-9]{1,10})\r\n")


def pack(entry: StreamEntry) -> tuple[Layout, bytes]:
    """The layout and the bytes of an entry.

    An envelope is its JSON text as it came; a flat entry is the RESP array of its names and values
    (`*4\\r\\n$8\\r\\nfunction\\r\\n…`). Of an entry that was too large it is the beginning of either.
    """
    layout = layout_of(entry)
    if isinstance(entry.fields, Truncated):
        return layout, entry.fields.start
    return layout, b"".join(pieces(layout, entry.fields))


def pieces(layout: Layout, fields: Sequence[bytes]) -> Iterator[bytes]:
    """The payload of an entry, piece by piece."""
    if layout is Layout.ENVELOPE:
        # A trace context in fields of its own is no part of the text.
        pairs = zip(fields[::2], fields[1::2], strict=False)
        yield from (value for name, value in pairs if name not in CARRIED_FIELDS)
        return
    yield b"*%d\r\n" % len(fields)
    for field in fields:
        yield b"$%d\r\n" % len(field)
        yield field
        yield b"\r\n"


def unpack(
    layout: Layout, payload: bytes, entry_id: str, whole_length: int | None = None, whole_sha256: str | None = None
) -> StreamEntry:
    """The entry that was packed; an envelope comes back as one field `message`.

    With a `whole_length` it is one that was too large, of which the payload holds the beginning.
    Raises ValueError where a flat payload is not a RESP array of names and values.
    """
    if whole_length is not None:
        return StreamEntry(entry_id, Truncated(layout, payload, whole_length, whole_sha256))
    if layout is Layout.ENVELOPE:
        return StreamEntry(entry_id, [b"message", payload])
    count, position = _number(payload, 0, b"*")
    if count % 2:
        raise ValueError(f"expected names and values in pairs, not {count} fields in the payload")
    fields = []
    for _ in range(count):
        length, start = _number(payload, position, b"$")
        position = start + length + 2
        if payload[position - 2 : position] != b"\r\n":
            raise ValueError(f"expected the end of a field at byte {position - 2} of the payload")
        fields.append(payload[start : start + length])
    if position != len(payload):
        raise ValueError(f"expected the payload to end at byte {position}")
    return StreamEntry(entry_id, fields)


def _number(payload: bytes, start: int, kind: bytes) -> tuple[int, int]:
    found = _NUMBER.match(payload, start)
    if found is None or found[1] != kind:
        raise ValueError(f"expected {kind.decode()} and a number at byte {start} of the payload")
    return int(found[2]), found.end()
