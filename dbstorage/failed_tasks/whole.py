"""Entries that were too large when they failed: a retry reads them from the stream again, if that still holds them."""

from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from dbstorage.batch.resources import Resources
from dbstorage.batch.transaction import in_transaction
from dbstorage.codes import TOO_LARGE
from dbstorage.commands.questions import HistoryQuestion
from dbstorage.errors import RedisUnavailableError, RejectedEntry
from dbstorage.storage.refused import Refused
from dbstorage.storage.retries import complete
from dbstorage.storage.work import Work, understand
from dbstorage.wire.entry import StreamEntry, Truncated
from dbstorage.wire.size import is_too_large, truncate

GONE = RejectedEntry(
    TOO_LARGE,
    "The stream does not hold this entry any more, and only its beginning was kept: have its sender send the command "
    "anew, and discard this one.",
)
NOBODY_WAITS = RejectedEntry(TOO_LARGE, "It is a question, and nobody waits for its answer any more: discard it.")


def with_whole_entry(resources: Resources, work: Work) -> Work | None:
    """The failed task with its whole entry, where its record has only the beginning and it is not too large any more.

    None where somebody changed the record meanwhile. Raises DatabaseUnavailableError and RedisUnavailableError.
    """
    entry, settings = work.entry, resources.settings
    if entry is None or not isinstance(entry.fields, Truncated) or entry.fields.length > 2 * settings.max_entry_bytes:
        return work
    found = _read(resources.redis, settings.command_stream, entry.id)
    # A stream that was made anew may give the same id to another entry.
    if found is None or not _is_the_same(entry.fields, truncate(found)):
        work.command = GONE
        return work
    if is_too_large(found, settings.max_entry_bytes):
        return work
    whole = understand(StreamEntry(entry.id, found), settings.history_limit)
    if isinstance(whole.command, HistoryQuestion):
        work.command = NOBODY_WAITS
        return work
    whole.record = work.record
    try:
        return in_transaction(resources, lambda connection: complete(connection, whole))
    except Refused:
        # The record keeps the beginning, but the whole command is run.
        return whole


def _read(redis: Redis, stream: str, entry_id: str) -> list[bytes] | None:
    # Not as a dict, in which a field that occurs twice would be lost.
    redis.set_response_callback("XRANGE", lambda reply, **_options: reply)
    try:
        reply: Any = redis.xrange(stream, entry_id, entry_id)
    except (RedisError, OSError) as error:
        raise RedisUnavailableError(f"Redis could not read the whole of a failed entry again: {error}") from error
    return list(reply[0][1]) if reply else None


def _is_the_same(kept: Truncated, found: Truncated) -> bool:
    return kept.length == found.length and kept.sha256 in (None, found.sha256)
