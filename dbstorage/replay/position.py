"""How far the stream is applied to the database: where a replay begins, what it notes, and accepting what is there."""

from contextlib import closing

from sqlalchemy import Connection

from dbstorage.audit.stream import CommandStream
from dbstorage.database.engine import create_engine
from dbstorage.failed_tasks.connected import connected
from dbstorage.failed_tasks.trail import record
from dbstorage.redis_access.explained import redis_errors_explained
from dbstorage.redis_access.keys import stored_key
from dbstorage.settings import Ordering, Settings
from dbstorage.storage.service import Applied, Service, find_service, find_stored
from dbstorage.wire.entry_id import position_of

#: The writer whose position a replay notes.
WRITER = "replay"
ACCEPT = "accept"


def accept(settings: Settings, who: str | None) -> str:
    """Accept the database, as it is, as the service's own; returns its id.

    `who` is recorded; None where that was done already. Raises RedisUnavailableError, DatabaseUnavailableError and
    DatabaseNotReadyError.
    """
    engine = create_engine(settings.database, application_name="dbstorage")
    try:
        with connected(engine) as connection, connection.begin():
            stored = find_stored(connection, find_service(connection, settings.scope))
            if who is not None:
                record(connection, settings.scope, ACCEPT, who)
        with closing(CommandStream(settings)) as stream, redis_errors_explained():
            stream.redis.set(stored_key(settings), stored.text)
        return stored.database
    finally:
        engine.dispose()


def where_the_database_is(connection: Connection, service: Service) -> int:
    """The position up to which everything is stored: the lowest of the processes that wrote in the last minute."""
    return int(
        connection.exec_driver_sql(
            "SELECT coalesce(min(entry_position), 0) FROM dbstorage.positions AS known "
            "WHERE stream = %s AND consumer_group = %s AND life = %s AND applied_at > "
            "(SELECT max(applied_at) FROM dbstorage.positions WHERE stream = known.stream "
            "AND consumer_group = known.consumer_group AND life = known.life) - interval '1 minute'",
            tuple(service),
        ).scalar_one()
    )


def first_that_may_lack(stream: CommandStream, settings: Settings, start: int) -> int:
    """The position from which the database may lack entries; `start` is how far every living process has come.

    In parallel order a process that died has no position any more. What it had in hand may stand anywhere before it.
    """
    if settings.ordering is Ordering.STRICT:
        return start
    oldest = stream.trimmed_before()
    return 0 if oldest is None else min(start, position_of(oldest))


def note_position(connection: Connection, service: Service, applied: Applied) -> None:
    """Note up to where the stream is applied, in the place of the positions of all workers."""
    connection.exec_driver_sql(
        "DELETE FROM dbstorage.positions WHERE stream = %s AND consumer_group = %s AND life = %s AND writer <> %s",
        (*service, WRITER),
    )
    connection.exec_driver_sql(
        "INSERT INTO dbstorage.positions (stream, consumer_group, life, writer, entry_position, digest) "
        "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (stream, consumer_group, writer) DO UPDATE SET "
        "life = excluded.life, entry_position = excluded.entry_position, digest = excluded.digest, applied_at = now()",
        (*service, WRITER, applied.position, applied.digest),
    )
