"""Figures that are looked up in Redis and PostgreSQL: how far the work is behind, and how much of it failed."""

from dataclasses import dataclass, field
from typing import Any

from redis import Redis
from sqlalchemy import Connection, text

from dbstorage.database.sequences import numbered_columns
from dbstorage.database.tables import OWN_SCHEMA
from dbstorage.operating.verdict import Verdict
from dbstorage.redis_access.keys import trimmed_key
from dbstorage.redis_access.kind import other_kind
from dbstorage.redis_access.memory import full_redis
from dbstorage.redis_access.trimmed import KNOWN, all_trimmed_unread
from dbstorage.settings import Scope, Settings
from dbstorage.wire.entry_id import milliseconds_of

#: Resolved and discarded tasks are not counted: there is no end to them, and nobody has to act on them.
COUNT_FAILED = text(
    "SELECT code, state, count(*) FROM dbstorage.failed_tasks "
    "WHERE stream = :stream AND consumer_group = :group AND state IN ('failed', 'retrying') GROUP BY 1, 2"
)

#: Fails where the database is not migrated.
TOUCH_FAILED = text("SELECT FROM dbstorage.failed_tasks LIMIT 1")


@dataclass(frozen=True, kw_only=True)
class StreamFigures:
    """The command stream and its group; None is what Redis cannot tell. Ages in seconds by Redis' clock."""

    entries: int
    #: Entries that no worker has read; Redis does not know it after entries were deleted.
    lag: int | None = None
    #: Entries that were read and are not acknowledged.
    pending: int | None = None
    #: Since the oldest of them was written; 0 where there is none.
    oldest_pending_age: float | None = None
    #: Since the oldest entry was written that no worker has read; 0 where there is none.
    oldest_unread_age: float | None = None
    #: Entries that were trimmed before anybody read them, as far as a worker has noticed.
    trimmed_unread: int | None = None
    #: Those of them that an operator knows of.
    trimmed_known: int = 0

    @property
    def lost(self) -> int:
        """Entries that were trimmed unread, and no operator has said that it is known."""
        return max(0, (self.trimmed_unread or 0) - self.trimmed_known)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Everything that was gathered at one moment; None is what could not be asked."""

    redis_up: bool | None = None
    database_up: bool | None = None
    stream: StreamFigures | None = None
    verdict: Verdict | None = None
    #: Whether Redis refuses to take more (maxmemory).
    redis_full: bool | None = None
    #: How much of the numbers that a sequence gives is used up, from 0 to 1, by table and column.
    sequences: dict[tuple[str, str], float] | None = None
    #: How many failed tasks there are by code and state (`failed`, `retrying`).
    failed_tasks: dict[tuple[str, str], int] | None = field(default=None)
    #: How much of the disk they take, with those that are done, their attempts and indexes.
    failed_tasks_bytes: int | None = None


def used_numbers(connection: Connection) -> dict[tuple[str, str], float]:
    """How much of the numbers that the sequences give is used up, from 0 to 1, by table and column.

    Those that our role may not look at are left out.
    """
    schema = str(connection.scalar(text("SELECT current_schema()")))
    tables: dict[str, tuple[str, ...]] = {schema: ("User", "Orders"), OWN_SCHEMA: ("failed_tasks", "operations")}
    return {
        (each.table, each.column): (each.next_number - 1) / each.last_number
        for each in numbered_columns(connection, tables)
        if each.next_number is not None
    }


def read_stream(redis: Redis, settings: Settings) -> StreamFigures | None:
    """Ask for the stream's figures; None where another kind of key has its name. Raises RedisError and OSError."""
    stream, group = settings.command_stream, settings.consumer_group
    with redis.pipeline(transaction=False) as pipeline:
        pipeline.time()
        pipeline.xlen(stream)
        pipeline.xinfo_stream(stream)
        pipeline.xinfo_groups(stream)
        pipeline.xpending(stream, group)
        pipeline.hgetall(trimmed_key(settings))
        now, entries, information, groups, pending, trimmed = pipeline.execute(raise_on_error=False)
    if isinstance(entries, Exception):
        if str(entries).startswith("WRONGTYPE"):
            return None
        raise entries
    ours = None if isinstance(groups, Exception) else _named(groups, group)
    if ours is None or isinstance(information, Exception) or isinstance(pending, Exception):
        return StreamFigures(entries=entries)
    now_milliseconds = now[0] * 1000 + now[1] // 1000
    oldest_unread = None
    if information["last-generated-id"] != ours["last-delivered-id"]:
        # The newest entry may have been deleted unread, so that there is nothing to read all the same.
        following = redis.xrange(stream, min=b"(" + ours["last-delivered-id"], count=1)
        oldest_unread = following[0][0] if following else None
    return StreamFigures(
        entries=entries,
        lag=ours.get("lag") if oldest_unread else 0,
        pending=pending["pending"],
        oldest_pending_age=_age(pending["min"], now_milliseconds),
        oldest_unread_age=_age(oldest_unread, now_milliseconds),
        trimmed_unread=None if isinstance(trimmed, Exception) else all_trimmed_unread(trimmed, information, ours),
        trimmed_known=0 if isinstance(trimmed, Exception) else int(trimmed.get(KNOWN.encode(), 0)),
    )


def refusal_of(redis: Redis, settings: Settings) -> str | None:
    """What Redis does not take although it serves the command stream: a sentence. Raises RedisError and OSError."""
    found = (full_redis(redis), other_kind(redis, settings.response_stream))
    return " ".join(sentence for sentence in found if sentence is not None) or None


def count_failed_tasks(connection: Connection, scope: Scope) -> dict[tuple[str, str], int]:
    """Count the failed tasks by code and state. Raises SQLAlchemyError, also where the table is not there yet."""
    return {(code, state): count for code, state, count in connection.execute(COUNT_FAILED, scope._asdict())}


def _named(groups: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    return next((group for group in groups if group["name"] == name.encode()), None)


def _age(entry_id: Any, now_milliseconds: int) -> float:
    """Seconds since an entry was written; its id may have been chosen by the writer, even in the future."""
    return max(0, now_milliseconds - milliseconds_of(entry_id.decode())) / 1000 if entry_id else 0.0
