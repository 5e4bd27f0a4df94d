"""The consumer group's commands, as words for Redis, and its replies, as plain data."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from dbstorage.errors import RedisUnavailableError
from dbstorage.settings import Settings
from dbstorage.wire.entry import StreamEntry

Command = tuple[str | bytes | int, ...]

#: Trims behind the work: at most the entries beyond STREAM_KEEP, never one that a group has still to acknowledge.
#: KEYS: command stream. ARGV: STREAM_KEEP. Returns the number of entries removed.
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


class Delivered(NamedTuple):
    """Entries that a read delivered, and the ids of those that were deleted from the stream meanwhile."""

    entries: list[StreamEntry]
    deleted: list[str]


class Pending(NamedTuple):
    """One line of XPENDING: who has the entry and how often it was delivered."""

    entry_id: str
    consumer: str
    deliveries: int


class ConsumerGroup:
    """Commands of one consumer in the group; nothing is sent from here."""

    def __init__(self, settings: Settings, consumer: str) -> None:
        self.stream = settings.command_stream
        self.name = settings.consumer_group
        self.consumer = consumer

    def create(self) -> Command:
        """Create the group at the stream's beginning; an error reply BUSYGROUP means that it exists."""
        return ("XGROUP", "CREATE", self.stream, self.name, "0", "MKSTREAM")

    def read_new(self, count: int, block_milliseconds: int) -> Command:
        """Read entries that nobody has read."""
        return (*self._read(count), "BLOCK", block_milliseconds, "STREAMS", self.stream, ">")

    def read_own_pending(self, count: int, after: str) -> Command:
        """Read again what this consumer was given behind the entry `after` and did not acknowledge."""
        return (*self._read(count), "STREAMS", self.stream, after)

    def _read(self, count: int) -> Command:
        return ("XREADGROUP", "GROUP", self.name, self.consumer, "COUNT", count)

    def pending(self, first: str, last: str, count: int, consumer: str | None = None) -> Command:
        """List pending entries, of one consumer or of all."""
        return ("XPENDING", self.stream, self.name, first, last, count, *((consumer,) if consumer is not None else ()))

    def claim(self, entry_ids: Sequence[str]) -> Command:
        """Take entries over, or renew the claim on them; this does not deliver them."""
        return ("XCLAIM", self.stream, self.name, self.consumer, 0, *entry_ids, "JUSTID")

    def claim_idle(self, count: int, minimum_idle: int, start: str) -> Command:
        """Take over what nobody has touched for `minimum_idle` milliseconds; this delivers the entries."""
        claim = ("XAUTOCLAIM", self.stream, self.name, self.consumer)
        return (*claim, minimum_idle, start, "COUNT", count)

    def acknowledge(self, entry_ids: Sequence[str]) -> Command:
        """Acknowledge entries."""
        return ("XACK", self.stream, self.name, *entry_ids)

    def consumers(self) -> Command:
        """List the group's consumers."""
        return ("XINFO", "CONSUMERS", self.stream, self.name)

    def remove_consumer(self, consumer: str) -> Command:
        """Remove a consumer that has nothing pending."""
        return ("EVAL", REMOVE_IDLE_CONSUMER, 1, self.stream, self.name, consumer)

    def trim(self, keep: int) -> Command:
        """Trim the stream behind the work."""
        return ("EVAL", TRIM_BEHIND_WORK, 1, self.stream, keep)


def accepted(reply: Any) -> Any:
    """The reply; raises RedisUnavailableError where it is an error."""
    if isinstance(reply, ResponseError):
        raise RedisUnavailableError(f"Redis answered: {reply}")
    return reply


def parse_read(reply: Any) -> Delivered:
    """The entries of an XREADGROUP reply; an entry deleted from the stream comes without fields."""
    entries: list[StreamEntry] = []
    deleted: list[str] = []
    for _stream, items in accepted(reply) or ():
        for entry_id, fields in items:
            if fields is None:
                deleted.append(entry_id.decode())
            else:
                entries.append(StreamEntry(entry_id.decode(), fields))
    return Delivered(entries, deleted)


def parse_claimed(reply: Any) -> tuple[str, Delivered]:
    """Where to go on, and the entries of an XAUTOCLAIM reply; Redis 6.2 does not name the deleted ones."""
    following, items, *deleted = accepted(reply)
    entries = [StreamEntry(item[0].decode(), item[1]) for item in items if item is not None and item[1] is not None]
    return following.decode(), Delivered(entries, [entry_id.decode() for ids in deleted for entry_id in ids])


def parse_pending(reply: Any) -> list[Pending]:
    """The lines of an XPENDING reply."""
    return [
        Pending(entry_id.decode(), consumer.decode(errors="surrogateescape"), int(deliveries))
        for entry_id, consumer, _idle, deliveries in accepted(reply) or ()
    ]


def parse_consumers(reply: Any) -> list[dict[str, Any]]:
    """The consumers of an XINFO CONSUMERS reply: name, pending, idle (milliseconds)."""
    consumers = []
    for item in accepted(reply) or ():
        values = {item[i].decode(): item[i + 1] for i in range(0, len(item), 2)}
        values["name"] = values["name"].decode(errors="surrogateescape")
        consumers.append(values)
    return consumers
