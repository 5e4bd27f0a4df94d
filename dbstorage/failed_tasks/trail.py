"""Records what operators did: rows in `dbstorage.operations`, which nobody changes later, and a log line each.

An operation on many tasks has a row for each part, written in the part's own transaction, and one at its end. Where the
last one is missing, the operation was broken off, and the others say how far it came.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, func, insert, text
from sqlalchemy.exc import DBAPIError

from dbstorage.database.engine import create_engine
from dbstorage.database.tables import operations
from dbstorage.errors import DBStorageError
from dbstorage.failed_tasks.connected import connected
from dbstorage.settings import Scope, Settings

logger = logging.getLogger(__name__)

ENDED, ONGOING, BROKEN_OFF = "ended", "ongoing", "broken off"
#: Names in the filter of a part, beside its own: what all parts of one operation share, and a mark of the last.
PARTS, LAST = "parts", "last"
#: The most ids that are named in words.
MOST_NAMED = 5
#: Seconds without a further part after which an operation counts as broken off.
ONGOING_SECONDS = 60
READ = text(
    f"""
SELECT min(id) AS id, min(at) AS at, min(who) AS who, min(what) AS what, (array_agg(filter ORDER BY id))[1] AS filter,
    sum(affected)::bigint AS affected, min(reason) AS reason,
    CASE WHEN bool_or(filter ? '{LAST}') OR NOT bool_or(filter ? '{PARTS}') THEN '{ENDED}'
        WHEN max(at) > now() - make_interval(secs => :seconds) THEN '{ONGOING}' ELSE '{BROKEN_OFF}' END AS state
FROM dbstorage.operations WHERE stream = :stream AND consumer_group = :group
GROUP BY coalesce(filter ->> '{PARTS}', id::text) ORDER BY max(at) DESC, max(id) DESC LIMIT :limit
"""
)

PAUSE, RESUME, ACKNOWLEDGE = "pause", "resume", "acknowledge"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """Something that an operator did: `affected` tasks that matched `filter`."""

    id: int
    at: datetime
    who: str
    what: str
    filter: dict[str, Any] | None
    affected: int | None
    reason: str | None
    #: ENDED; or ONGOING or BROKEN_OFF, where an operation of several parts has not come to its end.
    state: str = ENDED

    @property
    def number(self) -> str:
        """How many tasks it met, in words where it has not come to its end; empty where that is no matter of tasks."""
        if self.affected is None:
            return ""
        return f"{self.affected:,}{_SO_FAR.get(self.state, '')}"

    @property
    def which(self) -> str:
        """The filter in words: `code invalid_symbol, text doge`."""
        # Up to which id tasks were meant says nothing to a person.
        named = {name: value for name, value in (self.filter or {}).items() if name != "up_to"}
        return ", ".join(f"{name} {_words(value)}" for name, value in named.items())


def _words(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={item}" for name, item in value.items())
    if isinstance(value, list):
        more = f" and {len(value) - MOST_NAMED} more" if len(value) > MOST_NAMED else ""
        return " ".join(map(str, value[:MOST_NAMED])) + more
    return str(value)


_SO_FAR = {ONGOING: " so far", BROKEN_OFF: ", broken off"}


class PartsRecord:
    """The record of one operation that may have several parts."""

    def __init__(
        self, scope: Scope, what: str, who: str, *, filter: Mapping[str, Any] | None = None, reason: str | None = None
    ) -> None:
        self._scope, self._what, self._who = scope, what, who
        self._filter, self._reason = dict(filter or {}), reason
        self._key = uuid4().hex
        self._total = 0
        self._has_parts = False
        #: Whether the last part is committed, or nothing is to be recorded.
        self.ended = False

    @contextmanager
    def ended_by_errors(self, connection: Connection) -> Iterator[None]:
        """Where an error ends the operation before it has `ended`, record that, in a transaction of its own."""
        try:
            yield
        except BaseException:
            if not self.ended:
                with suppress(DBAPIError):
                    connection.rollback()
                    self.end(connection)
                    connection.commit()
            raise

    def part(self, connection: Connection, affected: int) -> None:
        """Record a part that others follow, in the transaction of the connection; `committed` says that it holds."""
        described = {**self._filter, PARTS: self._key}
        _insert(connection, self._scope, self._what, self._who, described, affected, self._reason)

    def committed(self, affected: int) -> None:
        """The transaction of a part with so many tasks, which was recorded, has been committed."""
        self._has_parts = True
        self._total += affected

    def end(self, connection: Connection, affected: int = 0) -> None:
        """Record the last part in the transaction of the connection, and log the whole; nothing if nothing was done."""
        total = self._total + affected
        if not total:
            return
        parts = {PARTS: self._key, LAST: True} if self._has_parts else {}
        _insert(connection, self._scope, self._what, self._who, {**self._filter, **parts}, affected, self._reason)
        tell(self._what, self._who, filter=self._filter, affected=total, reason=self._reason)


def record(
    connection: Connection,
    scope: Scope,
    what: str,
    who: str,
    *,
    filter: Mapping[str, Any] | None = None,
    affected: int | None = None,
    reason: str | None = None,
) -> None:
    """Record it in the transaction of the connection, and log it."""
    _insert(connection, scope, what, who, filter, affected, reason)
    tell(what, who, filter=filter, affected=affected, reason=reason)


def _insert(
    connection: Connection,
    scope: Scope,
    what: str,
    who: str,
    filter: Mapping[str, Any] | None,
    affected: int | None,
    reason: str | None,
) -> None:
    statement = insert(operations).values(
        # Not the beginning of the transaction, which may wait long for locks.
        at=func.clock_timestamp(),
        stream=scope.stream,
        consumer_group=scope.group,
        who=storable(who),
        what=what,
        filter=None if filter is None else dict(filter),
        affected=affected,
        reason=None if reason is None else storable(reason),
    )
    connection.execute(statement)


def record_alone(settings: Settings, what: str, who: str, *, reason: str | None = None) -> str | None:
    """Record it in a transaction of its own; returns a sentence where the database does not take it, else None."""
    engine = create_engine(settings.database, application_name="dbstorage operations")
    try:
        with connected(engine) as connection:
            record(connection, settings.scope, what, who, reason=reason)
            connection.commit()
    except DBStorageError as error:
        return str(error)
    finally:
        engine.dispose()
    return None


def tell(
    what: str, who: str, *, filter: Mapping[str, Any] | None = None, affected: int | None = None, reason: str | None
) -> None:
    """Write the operation to the log, as one line."""
    words = [f"{who}: {what}"]
    if affected is not None:
        words.append(f"{affected} {'task' if affected == 1 else 'tasks'}")
    if filter:
        words.append(f"that match {json.dumps(filter)}")
    logger.info("%s%s", " ".join(words), f" ({reason})" if reason else "")


def read_operations(connection: Connection, scope: Scope, limit: int = 50) -> list[Operation]:
    """The last operations, newest first; the parts of one are put together."""
    found = []
    for row in connection.execute(READ, {**scope._asdict(), "limit": limit, "seconds": ONGOING_SECONDS}):
        described = row.filter and {name: value for name, value in row.filter.items() if name not in (PARTS, LAST)}
        found.append(Operation(**{**row._asdict(), "filter": described}))
    return found


def storable(text: str) -> str:
    """Text that PostgreSQL takes."""
    return text.replace("\0", "").encode(errors="backslashreplace").decode()
