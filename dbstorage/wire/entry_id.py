"""Ids of stream entries: `<milliseconds since 1970>-<sequence number>`, both unsigned 64-bit numbers."""

_SEQUENCE_NUMBERS = 2**64


def parse_entry_id(entry_id: str) -> tuple[int, int]:
    """Milliseconds and sequence number of an id; pairs compare as the entries stand in the stream.

    Raises ValueError for anything that Redis would not hand out as an id.
    """
    milliseconds, dash, sequence = entry_id.partition("-")
    for number in (milliseconds, sequence):
        if not (dash and number.isascii() and number.isdecimal() and len(number) <= 20 and int(number) < 2**64):
            raise ValueError(f"expected an entry id such as 1746403514283-0, not {entry_id[:60]!r}")
    return int(milliseconds), int(sequence)


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
