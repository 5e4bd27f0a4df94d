"""Ids of stream entries: `<milliseconds since 1970>-<sequence number>`, both unsigned 64-bit numbers."""

import re

_SEQUENCE_NUMBERS = 2**64
# Redis writes no zeros in front.
_ENTRY_ID = re.compile(r"(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})")


def parse_entry_id(entry_id: str) -> tuple[int, int]:
    """Milliseconds and sequence number of an id; pairs compare as the entries stand in the stream.

    Raises ValueError for anything that Redis would not hand out as an id.
    """
    found = _ENTRY_ID.fullmatch(entry_id)
    if found:
        milliseconds, sequence = int(found[1]), int(found[2])
        if milliseconds < _SEQUENCE_NUMBERS and sequence < _SEQUENCE_NUMBERS:
            return milliseconds, sequence
    raise ValueError(f"expected an entry id such as 1746403514283-0, not {entry_id[:60]!r}")


def milliseconds_of(entry_id: str) -> int:
    """When the entry was added, in milliseconds since 1970 by Redis' clock; raises ValueError."""
    return parse_entry_id(entry_id)[0]


def position_of(entry_id: str) -> int:
    """The id as one whole number (milliseconds · 2^64 + sequence) that grows along the stream; raises ValueError."""
    milliseconds, sequence = parse_entry_id(entry_id)
    return milliseconds * _SEQUENCE_NUMBERS + sequence


def entry_id_at(position: int) -> str:
    """The entry id whose position is `position`."""
    milliseconds, sequence = divmod(position, _SEQUENCE_NUMBERS)
    return f"{milliseconds}-{sequence}"
