"""The bytes of an entry as they are kept with a failed task, and back."""

import re

from dbstorage.wire.entry import Layout, StreamEntry, layout_of

_NUMBER = re.compile(rb"([*$])([0-9]{1,10})\r\n")


def pack(entry: StreamEntry) -> tuple[Layout, bytes]:
    """The layout and the bytes of an entry.

    An envelope is its JSON text as it came; a flat entry is the RESP array of its names and values
    (`*4\\r\\n$8\\r\\nfunction\\r\\n…`).
    """
    layout = layout_of(entry)
    if layout is Layout.ENVELOPE:
        return layout, b"".join(entry.fields[1::2])
    parts = [b"*%d\r\n" % len(entry.fields)]
    parts += (b"$%d\r\n%b\r\n" % (len(field), field) for field in entry.fields)
    return layout, b"".join(parts)


def unpack(layout: Layout, payload: bytes, entry_id: str) -> StreamEntry:
    """The entry that was packed; an envelope comes back as one field `message`.

    Raises ValueError where a flat payload is not a RESP array of names and values.
    """
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
