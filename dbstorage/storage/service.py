"""The service as the database knows it, and whether this is the database that the service was stored in.

A stream's ids begin anew when it is made anew: then a new *life* of the stream begins, and what is kept of entries says
to which life they belong. A database is told from others by its id; that it went back in time, because a backup was
restored or a standby without its last transactions was promoted, shows in the position up to which the stream is
applied: Redis remembers the last one.
"""

import hashlib
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from redis import Redis
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import Connection

from dbstorage.database.engine import execute_prepared
from dbstorage.errors import OtherDatabaseError, RedisUnavailableError, ReplayRunningError
from dbstorage.redis_access.explained import is_not_there
from dbstorage.redis_access.keys import prefix, stored_key
from dbstorage.settings import Scope, Settings
from dbstorage.wire.entry import StreamEntry
from dbstorage.wire.entry_id import entry_id_at, position_of
from dbstorage.wire.payload import pack

logger = logging.getLogger(__name__)

#: The life of a service that has stored nothing yet.
FIRST_LIFE = 1
#: How many bytes of an entry go into the digest that tells it from another one of the same id.
DIGEST_BYTES = 4_096

#: Remembers how far which database is, unless another one is remembered. KEYS: stored key. ARGV: a Stored as text.
#: Returns what another database left, else nothing. A full Redis remembers what it did before. What is not a Stored was
#: put there by somebody else and tells nothing: it is replaced.
REMEMBER = """
local known = redis.call('TYPE', KEYS[1]).ok == 'string' and redis.call('GET', KEYS[1])
local database = known and string.match(known, '^(%S+) %d+ %d+$')
if database and database ~= string.match(ARGV[1], '^%S+') then return known end
redis.pcall('SET', KEYS[1], ARGV[1])
return ''
"""


class PositionGoneError(Exception):
    """The database does not know any more what this writer has committed, or its tables were put in place anew.

    A replay has put its own position in the place of all others, the row was deleted after a month of silence, or the
    database has gone back: `open_service` tells these apart.
    """


class Service(NamedTuple):
    """What our tables keep with each row; `life` grows when the stream is made anew, because its ids begin anew."""

    stream: str
    group: str
    life: int


class Stored(NamedTuple):
    """Up to where which database has applied the stream."""

    database: str
    life: int
    position: int

    @classmethod
    def parse(cls, text: bytes | None) -> "Stored | None":
        """What Redis remembers; None where that is nothing, or nothing of ours."""
        try:
            database, life, position = (text or b"").decode().split()
            return cls(database, int(life), int(position))
        except ValueError:
            return None

    @property
    def text(self) -> str:
        """As it is remembered."""
        return f"{self.database} {self.life} {self.position}"


class Applied(NamedTuple):
    """The last entry that was applied."""

    life: int
    position: int
    digest: bytes


def find_service(connection: Connection, scope: Scope) -> Service:
    """The service as of now; reads only."""
    statement = "SELECT life FROM dbstorage.services WHERE stream = %s AND consumer_group = %s"
    life = connection.exec_driver_sql(statement, tuple(scope)).scalar()
    return Service(scope.stream, scope.group, int(life or FIRST_LIFE))


def find_stored(connection: Connection, service: Service) -> Stored:
    """This database's id, and up to where it has applied this life of the stream (0: nothing yet)."""
    database = connection.exec_driver_sql("SELECT id::text FROM dbstorage.this_database").scalar()
    applied = find_applied(connection, service)
    return Stored(str(database), service.life, applied.position if applied else 0)


def find_copy(connection: Connection) -> str:
    """Which copy of our tables this is; another one after they were restored, even under an open connection."""
    return str(connection.exec_driver_sql(COPY).scalar())


def find_applied(connection: Connection, service: Service) -> Applied | None:
    """The last entry of this life that any worker has applied."""
    row: Any = connection.exec_driver_sql(
        "SELECT entry_position, digest FROM dbstorage.positions "
        "WHERE stream = %s AND consumer_group = %s AND life = %s ORDER BY entry_position DESC LIMIT 1",
        tuple(service),
    ).one_or_none()
    return None if row is None else Applied(service.life, int(row[0]), bytes(row[1]))


def open_service(
    connection: Connection, redis: Redis, settings: Settings, group_creation: str, remembered: str
) -> tuple[Service, str]:
    """The service, and this database's id; each statement here is a transaction of its own.

    `group_creation` names the creation of the group that entries are read from, and `remembered` is what Redis
    remembered when the worker joined that: it has to do where Redis does not answer. Begins a new life where the stream
    was made anew. Raises OtherDatabaseError where the service was stored in another database, or in this one at a later
    time; RedisUnavailableError.
    """
    # Redis first: other workers go on storing, and what Redis is told of the database holds already.
    try:
        last: Any = redis.get(stored_key(settings))
    except (RedisError, OSError) as error:
        if not group_creation:
            raise RedisUnavailableError(f"Redis could not say up to where the stream is stored: {error}") from error
        last = remembered.encode()
    service = find_service(connection, settings.scope)
    stored = find_stored(connection, service)
    sentence = difference(stored, Stored.parse(last))
    if sentence is not None:
        raise OtherDatabaseError(sentence)
    if group_creation:
        try:
            service = _settle_creation(connection, redis, service, group_creation)
        except (RedisError, OSError) as error:
            raise RedisUnavailableError(f"Redis could not say whether the stream was made anew: {error}") from error
    return service, stored.database


def remember(redis: Redis, settings: Settings, stored: Stored) -> None:
    """Let Redis remember how far this database is, unless it remembers another. Raises RedisUnavailableError."""
    try:
        redis.eval(REMEMBER, 1, stored_key(settings), stored.text)
    except (RedisError, OSError) as error:
        raise RedisUnavailableError(f"Redis did not note up to where the stream is stored: {error}") from error


def difference(stored: Stored, remembered: Stored | None) -> str | None:
    """Why this is not the database that the service was stored in last, in a sentence; None where it is."""
    way = (
        "Run the stream again with dbstorage replay, or take the database as it is with dbstorage check --accept; "
        "until then everything waits."
    )
    if remembered is None:
        return None
    if remembered.database != stored.database:
        return f"This is not the database that the service stored in before. {way}"
    if (stored.life, stored.position) < (remembered.life, remembered.position):
        until = entry_id_at(stored.position) if stored.position else "nothing"
        return (
            f"The database has gone back: it holds {until} as the last entry, and the service had stored up to "
            f"{entry_id_at(remembered.position)}. {way}"
        )
    return None


def _settle_creation(connection: Connection, redis: Redis, service: Service, group_creation: str) -> Service:
    row = connection.exec_driver_sql(
        "SELECT group_creation FROM dbstorage.services WHERE stream = %s AND consumer_group = %s",
        (service.stream, service.group),
    ).one_or_none()
    if row is not None and row[0] == group_creation:
        return service
    applied = find_applied(connection, service)
    anew = applied is not None and was_made_anew(redis, service.stream, applied)
    life = connection.exec_driver_sql(
        "INSERT INTO dbstorage.services AS known (stream, consumer_group, life, group_creation) "
        "VALUES (%s, %s, %s, %s) ON CONFLICT (stream, consumer_group) DO UPDATE "
        "SET group_creation = excluded.group_creation, life = greatest(known.life, excluded.life), "
        "life_began_at = CASE WHEN excluded.life > known.life THEN now() ELSE known.life_began_at END RETURNING life",
        (service.stream, service.group, service.life + anew, group_creation),
    ).scalar_one()
    if anew:
        logger.warning(
            "The stream %s was deleted and made anew: its entries may have the ids of earlier ones, and are kept apart "
            "from those.",
            service.stream,
        )
    return service._replace(life=int(life))


def was_made_anew(redis: Redis, stream: str, applied: Applied) -> bool:
    """Whether the stream is another one than that of which this entry was applied, and may use the same ids."""
    try:
        information: Any = redis.xinfo_stream(stream)
    except ResponseError as error:
        if is_not_there(error):
            return True
        raise
    if position_of(information["last-generated-id"].decode()) < applied.position:
        return True
    entry_id = entry_id_at(applied.position)
    there: Any = redis.execute_command("XRANGE", stream, entry_id, entry_id)  # type: ignore[no-untyped-call]
    if there:
        return digest_of(_entry(there[0])) != applied.digest
    # Trimmed, where none that is older is left. The stream may be trimmed between these two looks, so this is the last.
    first: Any = redis.xrange(stream, count=1)
    return bool(first) and position_of(first[0][0].decode()) < applied.position


def _entry(item: Any) -> StreamEntry:
    entry_id, fields = item
    if isinstance(fields, dict):
        fields = [part for field in fields.items() for part in field]
    return StreamEntry(entry_id.decode(), fields)


def digest_of(entry: StreamEntry) -> bytes:
    """What tells an entry from another one of the same id: its beginning, since of a large one no more may be known."""
    return hashlib.sha256(pack(entry)[1][:DIGEST_BYTES]).digest()


def last_of(entries: Sequence[StreamEntry], life: int) -> Applied:
    """The last of some entries, which are in stream order, as what was applied."""
    last = entries[-1]
    return Applied(life, position_of(last.id), digest_of(last))


# How far each process is

#: A row that nothing ever changes: whatever puts it in place anew has restored a backup.
COPY = "SELECT tableoid::text || ' ' || xmin::text FROM dbstorage.this_database"
#: Held shared by every transaction that writes, and alone by a replay: whoever comes meanwhile waits as in an outage.
MAY_WRITE = "SELECT pg_try_advisory_xact_lock_shared(hashtextextended(%s, 0))"
HOLD_WRITERS = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
APPLY = f"""
WITH before AS (
    SELECT life, entry_position FROM dbstorage.positions WHERE stream = %s AND consumer_group = %s AND writer = %s
), noted AS (
    INSERT INTO dbstorage.positions AS known (stream, consumer_group, writer, life, entry_position, digest)
    VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (stream, consumer_group, writer) DO UPDATE SET
        life = excluded.life, entry_position = excluded.entry_position, digest = excluded.digest, applied_at = now()
        WHERE (known.life, known.entry_position) < (excluded.life, excluded.entry_position)
)
SELECT ({MAY_WRITE}), (SELECT life FROM before), (SELECT entry_position FROM before), EXISTS (
    SELECT FROM dbstorage.failed_tasks
    WHERE stream = %s AND consumer_group = %s AND state = 'retrying' AND code = ANY(%s)
), ({COPY})
"""
#: Deletes the rows of processes that have been silent for so long: their pods are gone. The row with the highest
#: position always stays. Rows that another process is deleting or writing are skipped.
FORGET_GONE = """
DELETE FROM dbstorage.positions WHERE (stream, consumer_group, writer) IN (
    SELECT stream, consumer_group, writer FROM dbstorage.positions AS old
    WHERE stream = %s AND consumer_group = %s AND writer <> %s AND applied_at < now() - interval '30 days'
        AND EXISTS (
            SELECT FROM dbstorage.positions AS further
            WHERE further.stream = old.stream AND further.consumer_group = old.consumer_group
                AND (further.life, further.entry_position) > (old.life, old.entry_position)
        )
    FOR UPDATE SKIP LOCKED
)
"""
REPLAYING = "A replay of the stream is running; what comes meanwhile waits until it has ended."


def check_may_write(connection: Connection, service: Service, copy: str) -> None:
    """Raise ReplayRunningError while a replay runs, PositionGoneError where this is another `copy` of our tables."""
    may_write, copy_now = connection.exec_driver_sql(f"SELECT ({MAY_WRITE}), ({COPY})", (_lock_name(service),)).one()
    if not may_write:
        raise ReplayRunningError(REPLAYING)
    if copy and copy_now != copy:
        raise PositionGoneError


def hold_writers(connection: Connection, service: Service) -> None:
    """Let nobody else write until this transaction ends; waits for those that are writing."""
    connection.exec_driver_sql(HOLD_WRITERS, (_lock_name(service),))


def apply_position(
    connection: Connection,
    service: Service,
    writer: str,
    applied: Applied,
    before: Applied | None,
    copy: str,
    codes: Sequence[str] = (),
) -> bool:
    """Note in this transaction that an entry, and what stands before it, is applied by this writer.

    `before` is the last that this writer has committed, `copy` that of our tables which it has opened ("": none).
    Returns whether failed tasks with one of these codes wait for their next attempt. Raises PositionGoneError where the
    database does not know of `before` any more, or this is another copy, and ReplayRunningError while a replay runs.
    """
    scope = (service.stream, service.group)
    noted = (*scope, writer, applied.life, applied.position, applied.digest)
    found: Any = execute_prepared(
        connection, APPLY, *scope, writer, *noted, _lock_name(service), *scope, list(codes)
    ).one()
    may_write, life, position, wait, copy_now = found
    if not may_write:
        raise ReplayRunningError(REPLAYING)
    # A position of this writer may be older than the backup that was restored: it does not show that.
    if (copy and copy_now != copy) or (
        before is not None and (life or 0, position or 0) < (before.life, before.position)
    ):
        raise PositionGoneError
    return bool(wait)


def forget_gone_writers(connection: Connection, service: Service, writer: str) -> None:
    """Delete what is noted of processes, other than this writer, of which nothing was heard for a month."""
    connection.exec_driver_sql(FORGET_GONE, (service.stream, service.group, writer))


def _lock_name(service: Service) -> str:
    return f"{prefix(Scope(service.stream, service.group))}writes"
