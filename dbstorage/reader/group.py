"""The consumer group's commands as argument lists for Redis, and its replies as plain data."""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from dbstorage.errors import RedisUnavailableError
from dbstorage.reader.messages import PendingEntry
from dbstorage.redis_access.keys import creation_key, stored_key, trimmed_key
from dbstorage.redis_access.trimmed import LOOK_FOR_TRIMMED
from dbstorage.settings import Settings
from dbstorage.wire.entry import Fields
from dbstorage.wire.size import beginning

Command = tuple[str | bytes | int, ...]
#: Id and fields; plain, because making a named tuple of each takes a tenth of all that the main process does.
ReadEntry = tuple[str, Fields]

#: Trims finished entries: only what is beyond STREAM_KEEP, and never an entry that a group has yet to acknowledge.
#: KEYS: command stream. ARGV: entries to keep, and milliseconds for which they are kept (-1 where those do not count).
#: Returns the number of entries removed.
TRIM_BEHIND_WORK = """
local function padded(id)
    local ms, seq = string.match(id, '^(%d+)-(%d+)$')
    return string.rep('0', 20 - #ms) .. ms .. '-' .. string.rep('0', 20 - #seq) .. seq
end
local excess = redis.call('XLEN', KEYS[1]) - tonumber(ARGV[1])
if excess <= 0 then return 0 end
local oldest_needed = nil
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local info = {}
    for i = 1, #group, 2 do info[group[i]] = group[i + 1] end
    local needed = info['last-delivered-id']
    local pending = redis.call('XPENDING', KEYS[1], info['name'])
    if pending[1] > 0 and padded(pending[2]) < padded(needed) then needed = pending[2] end
    if oldest_needed == nil or padded(needed) < padded(oldest_needed) then oldest_needed = needed end
end
if oldest_needed == nil then return 0 end
if tonumber(ARGV[2]) >= 0 then
    local now = redis.call('TIME')
    local young = string.format('%d-0', now[1] * 1000 + math.floor(now[2] / 1000) - tonumber(ARGV[2]))
    if padded(young) < padded(oldest_needed) then oldest_needed = young end
end
return redis.call('XTRIM', KEYS[1], 'MINID', '~', oldest_needed, 'LIMIT', excess)
"""

#: Removes a consumer only while it has nothing pending. KEYS: command stream. ARGV: group, consumer.
REMOVE_IDLE_CONSUMER = """
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local info = {}
    for i = 1, #consumer, 2 do info[consumer[i]] = consumer[i + 1] end
    if info['name'] == ARGV[2] and info['pending'] == 0 then
        return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
    end
end
return 0
"""


#: Takes over what other consumers have pending, without delivering it. KEYS: command stream, lease. ARGV: group,
#: consumer, the lease's token ("" in parallel order: nobody holds one), idle milliseconds, most for each consumer.
#: Returns whether that was allowed, and whether there may be more.
CLAIM = """
if ARGV[3] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[3] then return {0, 0} end
local more = 0
local summary = redis.call('XPENDING', KEYS[1], ARGV[1])
for _, consumer in ipairs(summary[4] or {}) do
    if consumer[1] ~= ARGV[2] then
        local claim = {'XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[4]}
        local pending = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[4], '-', '+', ARGV[5], consumer[1])
        for _, line in ipairs(pending) do claim[#claim + 1] = line[1] end
        if #pending > 0 then
            claim[#claim + 1] = 'JUSTID'
            redis.call(unpack(claim))
            if #pending == tonumber(ARGV[5]) then more = 1 end
        end
    end
end
return {1, more}
"""

#: Lets other workers take entries at once, where they are pending for this consumer. Being read is then no delivery.
#: KEYS: command stream. ARGV: group, consumer, idle milliseconds to be given to them, entry ids.
RELEASE = """
for i = 4, #ARGV do
    local line = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])[1]
    if line then
        redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i],
            'IDLE', ARGV[3], 'RETRYCOUNT', math.max(0, line[4] - 1), 'JUSTID')
    end
end
return redis.status_reply('OK')
"""

#: Reads the beginning of one pending entry that is too large to be read whole, and counts it as a delivery.
#: KEYS: command stream. ARGV: group, consumer, entry id, bytes to be read of each value.
#: Returns the bytes of all names and values, and the first fields with their values cut; nothing for an entry that is
#: gone.
BEGINNING = """
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'JUSTID')
local line = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2])[1]
local entry = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1]
if not line or not entry then return {} end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'RETRYCOUNT', line[4] + 1, 'JUSTID')
local size, fields = 0, {}
for i, word in ipairs(entry[2]) do
    size = size + #word
    if i <= 64 then fields[i] = string.sub(word, 1, tonumber(ARGV[4])) end
end
return {size, fields}
"""

#: Creates the group, and names the creation, so that everybody sees when the stream was deleted and made anew.
#: KEYS: command stream, creation key, stored key. ARGV: group, name of this creation.
#: Returns whether it was created, the name of its creation, and what is remembered of the database ("": nothing).
#: A full Redis refuses to create it only as the first write of a script, so XACK, which changes nothing, comes first.
#: A key of ours that somebody made something else than a string tells nothing, and would only stand in the way.
CREATE = """
redis.pcall('XACK', KEYS[1], ARGV[1], '0-0')
for i = 2, 3 do
    if redis.call('TYPE', KEYS[i]).ok ~= 'string' then redis.call('DEL', KEYS[i]) end
end
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if type(made) == 'table' and made['err'] then
    if string.sub(made['err'], 1, 9) ~= 'BUSYGROUP' then return made end
    return {0, redis.call('GET', KEYS[2]) or '', redis.call('GET', KEYS[3]) or ''}
end
redis.pcall('SET', KEYS[2], ARGV[2])
return {1, ARGV[2], redis.call('GET', KEYS[3]) or ''}
"""

#: Which of these entries are no longer in the stream. KEYS: command stream. ARGV: entry ids.
NOT_THERE = """
local gone = {}
for _, id in ipairs(ARGV) do
    if #redis.call('XRANGE', KEYS[1], id, id) == 0 then gone[#gone + 1] = id end
end
return gone
"""

#: Idle milliseconds that a released entry is given, so that any worker may claim it at once.
RELEASED_IDLE = 3_600_000
#: Pending entries looked at in one go, and entries named in one command.
AT_ONCE = 1_000


class Taken(NamedTuple):
    """What a claim brought: see CLAIM."""

    allowed: bool
    more: bool


class ConsumerGroup:
    """Commands of one consumer in the group; nothing is sent from here."""

    def __init__(self, settings: Settings, consumer: str) -> None:
        self.stream = settings.command_stream
        self.name = settings.consumer_group
        self.consumer = consumer
        #: Which creation of the group this is, and what Redis remembered of the database, as of joining it.
        self.creation = self.remembered = ""
        self._creation_key = creation_key(settings)
        self._stored_key = stored_key(settings)
        self._trimmed_key = trimmed_key(settings)

    def create(self) -> Command:
        """Create the group at the stream's beginning, where it is not there; see CREATE."""
        return ("EVAL", CREATE, 3, self.stream, self._creation_key, self._stored_key, self.name, uuid.uuid4().hex)

    def read_new(self, count: int, block_milliseconds: int) -> Command:
        """Read entries that nobody has read."""
        read = ("XREADGROUP", "GROUP", self.name, self.consumer, "COUNT", count)
        return (*read, "BLOCK", block_milliseconds, "STREAMS", self.stream, ">")

    def list_pending(self, after: str) -> Command:
        """List what is pending for this consumer, behind an entry or from the beginning (""); AT_ONCE at most."""
        first = f"({after}" if after else "-"
        return ("XPENDING", self.stream, self.name, first, "+", AT_ONCE, self.consumer)

    def fetch(self, entry_ids: Sequence[str]) -> Command:
        """Read pending entries again; this delivers them. What is gone from the stream does not come."""
        return ("XCLAIM", self.stream, self.name, self.consumer, 0, *entry_ids)

    def beginning(self, entry_id: str, most_bytes: int) -> Command:
        """Read the beginning of a pending entry."""
        return ("EVAL", BEGINNING, 1, self.stream, self.name, self.consumer, entry_id, most_bytes)

    def not_there(self, entry_ids: Sequence[str]) -> Command:
        """List those of these entries that are no longer in the stream."""
        return ("EVAL", NOT_THERE, 1, self.stream, *entry_ids)

    def renew(self, entry_ids: Sequence[str]) -> Command:
        """Renew the claim on entries; this does not deliver them."""
        return ("XCLAIM", self.stream, self.name, self.consumer, 0, *entry_ids, "JUSTID")

    def claim(self, lease_key: str, token: str, minimum_idle: int) -> Command:
        """Take over what has been idle for so many milliseconds; with a token only if that has the lease."""
        return ("EVAL", CLAIM, 2, self.stream, lease_key, self.name, self.consumer, token, minimum_idle, AT_ONCE)

    def release(self, entry_ids: Sequence[str]) -> Command:
        """Let others take these entries at once."""
        return ("EVAL", RELEASE, 1, self.stream, self.name, self.consumer, RELEASED_IDLE, *entry_ids)

    def acknowledge(self, entry_ids: Sequence[str]) -> Command:
        """Acknowledge entries."""
        return ("XACK", self.stream, self.name, *entry_ids)

    def look_for_trimmed(self) -> Command:
        """Count the entries that were trimmed before anybody read them, and keep the number in Redis."""
        return ("EVAL", LOOK_FOR_TRIMMED, 2, self.stream, self._trimmed_key, self.name)

    def consumers(self) -> Command:
        """List the group's consumers."""
        return ("XINFO", "CONSUMERS", self.stream, self.name)

    def remove_consumer(self, consumer: str) -> Command:
        """Remove a consumer that has nothing pending."""
        return ("EVAL", REMOVE_IDLE_CONSUMER, 1, self.stream, self.name, consumer)

    def trim(self, keep: int | timedelta) -> Command:
        """Trim finished entries, but keep so many of the last ones, or those of the last so many milliseconds."""
        if isinstance(keep, timedelta):
            return ("EVAL", TRIM_BEHIND_WORK, 1, self.stream, 0, round(keep.total_seconds() * 1000))
        return ("EVAL", TRIM_BEHIND_WORK, 1, self.stream, keep, -1)


def accepted(reply: Any) -> Any:
    """The reply; raises RedisUnavailableError where it is an error."""
    if isinstance(reply, ResponseError):
        raise RedisUnavailableError(f"Redis answered: {reply}")
    return reply


def parse_read(reply: Any) -> list[ReadEntry]:
    """The entries of an XREADGROUP reply."""
    return [entry for _, items in accepted(reply) or () for entry in parse_entries(items)]


def parse_entries(reply: Any) -> list[ReadEntry]:
    """The entries of an XCLAIM reply; one that is gone from the stream is left out."""
    items = accepted(reply) or ()
    return [(item[0].decode(), item[1]) for item in items if item is not None and item[1] is not None]


def parse_beginning(entry_id: str, reply: Any) -> list[ReadEntry]:
    """The reply of the script BEGINNING; empty where the entry is gone."""
    if not accepted(reply):
        return []
    length, fields = reply
    return [(entry_id, beginning(fields, length))]


def parse_pending(reply: Any) -> list[PendingEntry]:
    """The lines of an XPENDING reply."""
    return [PendingEntry(entry_id.decode(), int(deliveries)) for entry_id, _, _, deliveries in accepted(reply) or ()]


def parse_claim(reply: Any) -> Taken:
    """The reply of the script CLAIM."""
    allowed, more = accepted(reply)
    return Taken(bool(allowed), bool(more))


def parse_consumers(reply: Any) -> list[dict[str, Any]]:
    """The consumers of an XINFO CONSUMERS reply: name, pending, idle (milliseconds)."""
    consumers = []
    for item in accepted(reply) or ():
        values = {item[i].decode(): item[i + 1] for i in range(0, len(item), 2)}
        values["name"] = values["name"].decode(errors="surrogateescape")
        consumers.append(values)
    return consumers
