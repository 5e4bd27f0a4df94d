"""Entries that were trimmed from the stream before our group read them, as Redis 7 tells it."""

from collections.abc import Mapping
from typing import Any

from dbstorage.wire.entry_id import position_of


def trimmed_unread(stream: Mapping[str, Any], group: Mapping[str, Any]) -> int | None:
    """How many entries are gone between what the group has read and what is left; None where Redis does not tell.

    `stream` and `group` are what XINFO STREAM and XINFO GROUPS say. Once the group has read on, the gap is behind it
    and shows no more. Entries that were deleted one by one (XDEL) count as well.
    """
    added, read = stream.get("entries-added"), group.get("entries-read")
    first = stream.get("first-entry")
    if added is None:
        return None
    last_delivered = position_of(group["last-delivered-id"].decode())
    if first is not None and position_of(first[0].decode()) <= last_delivered:
        return 0
    if last_delivered == position_of(stream["last-generated-id"].decode()):
        return 0
    if read is None:
        # Redis knows it of a group that has read nothing at all.
        if last_delivered:
            return None
        read = 0
    return max(0, int(added) - int(stream["length"]) - int(read))
