"""Entries that were trimmed from the stream before our group read them: nobody can store them, only count them.

Redis shows the gap only until the group reads on, so a worker that joins looks for it first, and notes it under a key.
"""

from collections.abc import Mapping
from typing import Any

from dbstorage.wire.entry_id import position_of

#: Looks for a gap between the entry that was read last and the oldest that is left, and notes it.
#: KEYS: command stream, trimmed key. ARGV: group. Returns how many entries are gone that were not noted yet.
#: Redis 7.0 goes on counting behind a gap as if there were none: `drift` is by how much it is wrong.
LOOK_FOR_TRIMMED = """
local function info(list)
    local found = {}
    for i = 1, #list, 2 do found[list[i]] = list[i + 1] end
    return found
end
local stream = info(redis.call('XINFO', 'STREAM', KEYS[1]))
for _, line in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local group = info(line)
    local last, read, added = group['last-delivered-id'], group['entries-read'], stream['entries-added']
    if group['name'] == ARGV[1] and read and added then
        if last == stream['last-generated-id'] then
            local drift = added - read
            if drift > 0 then redis.call('HSET', KEYS[2], 'drift', drift) end
            return 0
        end
        if #redis.call('XRANGE', KEYS[1], '-', last, 'COUNT', 1) > 0 then return 0 end
        local drift = tonumber(redis.call('HGET', KEYS[2], 'drift') or 0)
        local gone = added - stream['length'] - read - drift
        local noted = tonumber(redis.call('HGET', KEYS[2], last) or 0)
        if gone <= noted then return 0 end
        redis.call('HSET', KEYS[2], last, gone)
        return gone - noted
    end
end
return 0
"""

#: The field under the key that says how many of them an operator knows of.
KNOWN = "known"
#: Fields under the key that count no entries.
OTHER_FIELDS = (b"drift", KNOWN.encode())

#: For a log, a page or an audit, with the number before it.
SENTENCE = (
    "entries were trimmed from the stream before the service read them, and are lost: what writes to the stream must "
    "not trim it (MAXLEN, XTRIM). Have them sent again."
)


def all_trimmed_unread(noted: Mapping[bytes, bytes], stream: Mapping[str, Any], group: Mapping[str, Any]) -> int:
    """How many entries were trimmed unread: those `noted` under the key, and those that nobody has noted yet."""
    total = sum(int(number) for name, number in noted.items() if name not in OTHER_FIELDS)
    gap = (trimmed_unread(stream, group) or 0) - int(noted.get(b"drift", 0))
    return total + max(0, gap - int(noted.get(group["last-delivered-id"], 0)))


def trimmed_unread(stream: Mapping[str, Any], group: Mapping[str, Any]) -> int | None:
    """How many entries are gone between what the group has read and what is left; None where Redis does not tell.

    `stream` and `group` are what XINFO STREAM and XINFO GROUPS say.
    """
    added, read = stream.get("entries-added"), group.get("entries-read")
    first = stream.get("first-entry")
    if added is None or read is None:
        return None
    last = group["last-delivered-id"]
    if last == stream["last-generated-id"] or (first and position_of(first[0].decode()) <= position_of(last.decode())):
        return 0
    return max(0, int(added) - int(stream["length"]) - int(read))
