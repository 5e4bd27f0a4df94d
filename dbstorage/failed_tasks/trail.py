"""Records what operators did: a row in `dbstorage.operations` and a log line for each operation."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from dbstorage.database.engine import create_engine
from dbstorage.database.tables import operations
from dbstorage.errors import DBStorageError
from dbstorage.failed_tasks.connected import connected
from dbstorage.settings import Scope, Settings

logger = logging.getLogger(__name__)

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
    statement = insert(operations).values(
        stream=scope.stream,
        consumer_group=scope.group,
        who=storable(who),
        what=what,
        filter=None if filter is None else dict(filter),
        affected=affected,
        reason=None if reason is None else storable(reason),
    )
    connection.execute(statement)
    tell(what, who, filter=filter, affected=affected, reason=reason)


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
    logger.info("%s%s", " ".join(words), f" ({reason})" if reason else "", extra={"operation": what})


def read_operations(connection: Connection, scope: Scope, limit: int = 50) -> list[Operation]:
    """The last operations, newest first."""
    table = operations.c
    statement = (
        select(table.id, table.at, table.who, table.what, table.filter, table.affected, table.reason)
        .where(table.stream == scope.stream, table.consumer_group == scope.group)
        .order_by(table.at.desc(), table.id.desc())
        .limit(limit)
    )
    return [Operation(**row._asdict()) for row in connection.execute(statement)]


def storable(text: str) -> str:
    """Text that PostgreSQL takes."""
    return text.replace("\0", "").encode(errors="backslashreplace").decode()
