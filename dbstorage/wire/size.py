"""How large an entry is, and what is kept of one that is larger than MAX_ENTRY_BYTES."""

import hashlib
from collections.abc import Sequence

from dbstorage.wire.entry import Fields, Layout, Truncated
from dbstorage.wire.payload import pieces

#: Bytes that are kept of an entry that is too large.
KEPT_BYTES = 64 * 1024


def size_of(fields: Fields) -> int:
    """The bytes of an entry's names and values, as it was delivered."""
    return sum(map(len, fields)) if isinstance(fields, list) else fields.length


def is_too_large(fields: Fields, limit: int) -> bool:
    """Whether the values have more than `limit` bytes together, or the names."""
    if isinstance(fields, Truncated):
        return True
    return size_of(fields) > limit and max(sum(map(len, fields[1::2])), sum(map(len, fields[::2]))) > limit


def fitting(fields: Fields, limit: int) -> Fields:
    """The fields as they are, or what is kept of them where they are too large."""
    return truncate(fields) if is_too_large(fields, limit) else fields


def truncate(fields: Fields) -> Truncated:
    """What is kept of an entry that was delivered whole."""
    if isinstance(fields, Truncated):
        return fields
    layout = Layout.FLAT if b"function" in fields[::2] else Layout.ENVELOPE
    sha256 = hashlib.sha256()
    for value in fields[1::2]:
        sha256.update(value)
    return Truncated(layout, _start(layout, fields), size_of(fields), sha256.hexdigest())


def beginning(fields: Sequence[bytes], length: int) -> Truncated:
    """What is kept of an entry of `length` bytes of which only these, cut fields were delivered."""
    layout = Layout.FLAT if b"function" in fields[::2] else Layout.ENVELOPE
    return Truncated(layout, _start(layout, fields), length, None)


def held_bytes(fields: Fields) -> int:
    """The bytes that an entry takes here."""
    return len(fields.start) if isinstance(fields, Truncated) else size_of(fields)


def _start(layout: Layout, fields: Sequence[bytes]) -> bytes:
    start = bytearray()
    for piece in pieces(layout, fields):
        start += piece[: KEPT_BYTES - len(start)]
        if len(start) == KEPT_BYTES:
            break
    return bytes(start)
