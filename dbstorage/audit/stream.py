"""Reading the command stream: its entries in chunks, and which of them the group has not acknowledged."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from redis import Redis
from redis.exceptions import ResponseError

from dbstorage.redis_access.client import connect_redis
from dbstorage.redis_access.explained import is_not_there, redis_errors_explained
from dbstorage.redis_access.keys import trimmed_key
from dbstorage.redis_access.trimmed import all_trimmed_unread
from dbstorage.settings import Settings
from dbstorage.wire.entry import StreamEntry
from dbstorage.wire.entry_id import entry_id_at, position_of

FROM_BEGINNING = "-"
TO_END = "+"
#: Entries that are in memory at a time.
CHUNK = 1000
#: Seconds that Redis may take for one chunk.
REDIS_TIMEOUT = 10.0

_HIGHEST_SEQUENCE = 2**64 - 1


class Range(NamedTuple):
    """First and last entry of a range, by position in the stream; `length` is the whole stream's."""

    first: int
    last: int
    length: int


def first_position(text: str) -> int:
    """The position at which a range begins: an entry id, milliseconds alone, or `-`; raises ValueError."""
    return 0 if text == FROM_BEGINNING else position_of(text if "-" in text else f"{text}-0")


def last_position(text: str) -> int | None:
    """The position at which a range ends: an entry id, milliseconds alone, or `+` (None); raises ValueError."""
    if text == TO_END:
        return None
    return position_of(text if "-" in text else f"{text}-{_HIGHEST_SEQUENCE}")


class CommandStream:
    """The command stream and its group, only looked at. Every method raises RedisUnavailableError."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.command_stream
        self.group = settings.consumer_group
        self.trimmed_key = trimmed_key(settings)
        self.redis: Redis = connect_redis(settings.redis_url, REDIS_TIMEOUT)
        # Not as a dict, in which a field that occurs twice would be lost.
        self.redis.set_response_callback("XRANGE", lambda reply, **_options: reply)

    def close(self) -> None:
        """Close the connection."""
        self.redis.close()

    def range(self, first: str, last: str) -> Range:
        """The range between two ids, its end no later than the entry that is the last one by now."""
        from_position, to_position = first_position(first), last_position(last)
        with redis_errors_explained():
            try:
                information: Any = self.redis.xinfo_stream(self.name)
            except ResponseError as error:
                if is_not_there(error):
                    return Range(from_position, -1, 0)
                raise
        end = position_of(information["last-generated-id"].decode())
        return Range(from_position, end if to_position is None else min(end, to_position), information["length"])

    def last_delivered(self) -> int:
        """The position of the last entry that any worker has read; 0 where there is none."""
        with redis_errors_explained():
            try:
                groups: Any = self.redis.xinfo_groups(self.name)
            except ResponseError as error:
                if is_not_there(error):
                    return 0
                raise
        ours = (group["last-delivered-id"] for group in groups if group["name"].decode() == self.group)
        return position_of(next(ours, b"0-0").decode())

    def trimmed_before(self) -> str | None:
        """The id of the stream's first entry where there were others before it; None where there were not."""
        with redis_errors_explained():
            try:
                information: Any = self.redis.xinfo_stream(self.name)
            except ResponseError as error:
                if is_not_there(error):
                    return None
                raise
            first: Any = self.redis.xrange(self.name, count=1)
        if information.get("entries-added", information["length"]) <= information["length"]:
            return None
        return (
            first[0][0].decode() if first else entry_id_at(position_of(information["last-generated-id"].decode()) + 1)
        )

    def trimmed_unread(self) -> int:
        """How many entries were trimmed before the group read them, as far as Redis or a worker has noticed."""
        with redis_errors_explained():
            try:
                stream: Any = self.redis.xinfo_stream(self.name)
                groups: Any = self.redis.xinfo_groups(self.name)
                noted: Any = self.redis.hgetall(self.trimmed_key)
            except ResponseError as error:
                if is_not_there(error):
                    return 0
                raise
        ours = [group for group in groups if group["name"].decode(errors="replace") == self.group]
        return all_trimmed_unread(noted, stream, ours[0]) if ours else 0

    def chunks(self, wanted: Range) -> Iterator[list[StreamEntry]]:
        """The entries of a range, oldest first."""
        first = wanted.first
        while first <= wanted.last:
            with redis_errors_explained():
                reply: Any = self.redis.xrange(self.name, entry_id_at(first), entry_id_at(wanted.last), count=CHUNK)
            entries = [StreamEntry(entry_id.decode(), fields) for entry_id, fields in reply]
            if not entries:
                return
            yield entries
            first = position_of(entries[-1].id) + 1

    def unacknowledged(self, entry_ids: Sequence[str]) -> set[str]:
        """Which of these entries, given in stream order, are pending or not delivered; without a group all of them."""
        with redis_errors_explained():
            try:
                groups: Any = self.redis.xinfo_groups(self.name)
                last_delivered = next(
                    (group["last-delivered-id"].decode() for group in groups if group["name"].decode() == self.group),
                    "0-0",
                )
                delivered = bisect_right(entry_ids, position_of(last_delivered), key=position_of)
                # Asked last: an entry delivered in between is behind last_delivered and counts as not delivered yet.
                pending = self._pending(entry_ids[0], entry_ids[delivered - 1]) if delivered else ()
                return {*entry_ids[delivered:], *pending}
            except ResponseError as error:
                if is_not_there(error):
                    return set(entry_ids)
                raise

    def _pending(self, first: str, last: str) -> Iterator[str]:
        while True:
            found: Any = self.redis.xpending_range(self.name, self.group, first, last, CHUNK)
            yield from (item["message_id"].decode() for item in found)
            if len(found) < CHUNK:
                return
            first = f"({found[-1]['message_id'].decode()}"
