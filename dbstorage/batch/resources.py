"""The connections of a pool process: one to the database, one to Redis, and what it has learned over them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from redis import Redis
from sqlalchemy import Connection, Engine

from dbstorage.database.engine import create_engine
from dbstorage.database.shape import TableShape, inspect_shape
from dbstorage.redis_access.client import connect_redis
from dbstorage.settings import Settings
from dbstorage.storage.backoff import LOCK_PAUSES
from dbstorage.storage.service import (
    Applied,
    Service,
    Stored,
    apply_position,
    check_may_write,
    find_copy,
    find_service,
    forget_gone_writers,
    last_of,
    open_service,
    remember,
)
from dbstorage.storage.work import Work
from dbstorage.wire.entry import StreamEntry

#: Milliseconds that a statement waits for a lock, before we look who holds it.
LOCK_TIMEOUT = 200
#: Seconds after which the server ends a transaction whose process does not stir: before the lease of its worker is up,
#: and before a batch that meets its locks gives up waiting. So nothing is put aside because of a session of ours.
IDLE_IN_TRANSACTION_SECONDS = 3.0
#: Settings for histories. PostgreSQL plans for the average user: of one with ten thousand orders it would gather and
#: sort them all, instead of reading the first through the index. And it plans for a hundred questions where there is
#: one, so compiling the statement (JIT) would seem worth its time.
SESSION_SETTINGS = {
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "jit": "off",
    "lock_timeout": str(LOCK_TIMEOUT),
}


@dataclass
class Resources:
    """A pool process's connections. Each is made when first used, and made anew after it was lost."""

    settings: Settings
    engine: Engine
    redis: Redis
    _shape: TableShape | None = field(default=None)
    #: The name under which this process notes its position, and which creation of the group its entries come from.
    writer: str = ""
    group_creation: str = ""
    remembered: str = ""
    #: Whether this is known to be the service's database.
    is_open: bool = False
    #: Kind of command -> when the tables last took one, in monotonic seconds.
    written_at: dict[type, float] = field(default_factory=dict)
    #: When a batch took too long last, while parts of it did not.
    slow_at: float = -inf
    #: Kind of command -> one that the tables have taken, to see whether they still do.
    taken: dict[type, Work] = field(default_factory=dict)
    _service: Service | None = field(default=None)
    _database: str = ""
    _copy: str = ""
    _applied: Applied | None = field(default=None)
    #: What this job has committed, and Redis was not told of yet.
    _untold: Stored | None = field(default=None)

    def shape(self, connection: Connection) -> TableShape:
        """The tables' shape, read once; raises DatabaseNotReadyError until the database is migrated."""
        if self._shape is None:
            self._shape = inspect_shape(connection)
        return self._shape

    def service(self, connection: Connection) -> Service:
        """The service that we are part of, with the life of its stream; read once.

        Raises DatabaseNotReadyError until the database is migrated.
        """
        if self._service is None:
            self.shape(connection)
            self._service = find_service(connection, self.settings.scope)
        return self._service

    def open(self, connection: Connection) -> None:
        """Make sure, once for each connection, that this is the database which the service was stored in last.

        Begins a new life where the stream was made anew. Raises DatabaseNotReadyError, OtherDatabaseError and
        RedisUnavailableError.
        """
        self.shape(connection)
        if self._untold is not None:
            # Else a standby that is promoted without it, while the job runs, would pass for the database as it was.
            remember(self.redis, self.settings, self._untold)
            self._untold = None
        # Before the positions are looked at: what is restored meanwhile is another copy.
        copy = find_copy(connection)
        self._service, self._database = open_service(
            connection, self.redis, self.settings, self.group_creation, self.remembered
        )
        self._copy = copy
        self.is_open = True

    def serves(self, consumer: str, group_creation: str, remembered: str) -> None:
        """Begin a job: for which worker this process writes, and which creation of the group its entries come from.

        `remembered` is what Redis remembered of the database when the worker joined the group.
        """
        self.remembered = remembered
        # What earlier jobs have committed and not acknowledged runs again.
        self._untold = None
        # Few rows for each worker, however many processes it has had.
        self.writer = f"{consumer}/{os.getpid() % 64}"
        if group_creation and group_creation != self.group_creation:
            self.group_creation = group_creation
            self._forget_service()

    def apply(self, connection: Connection, entries: Sequence[StreamEntry]) -> tuple[Applied | None, bool]:
        """Note in this transaction how far the stream is applied with these entries; None where there are none.

        Tells, too, whether anybody may be waiting for a locked row. Raises PositionGoneError where what this process
        has committed is not noted any more, or our tables were restored, and ReplayRunningError while a replay runs.
        """
        service = self.service(connection)
        if not entries:
            check_may_write(connection, service, self._copy)
            return None, True
        applied = last_of(entries, service.life)
        somebody_waits = apply_position(
            connection, service, self.writer, applied, self._applied, self._copy, [*LOCK_PAUSES]
        )
        if self._applied is None:
            # Once in each process: every process that starts adds a row, and those of pods that are gone would pile up.
            forget_gone_writers(connection, service, self.writer)
        return applied, somebody_waits

    def committed(self, applied: Applied | None) -> None:
        """Remember that the transaction with this position has committed."""
        if applied is not None and (self._applied is None or self._applied[:2] < applied[:2]):
            self._applied = applied
            self._untold = self.stored

    def told(self) -> None:
        """Note that Redis remembers what was `stored`."""
        self._untold = None

    @property
    def stored(self) -> Stored | None:
        """What Redis is to remember of this database; None before anything was stored."""
        if self._applied is None or not self.is_open:
            return None
        return Stored(self._database, self._applied.life, self._applied.position)

    def open_anew(self) -> None:
        """Check anew, before anything more is stored, whether this is the service's database."""
        self._forget_service()

    def forget_shape(self) -> TableShape | None:
        """After an unexpected error: the tables may have changed under us. Returns what was known of them."""
        shape, self._shape = self._shape, None
        return shape

    def forget_database(self) -> None:
        """After an outage: another server may answer."""
        self._shape = None
        self._forget_service()
        self.engine.dispose()

    def _forget_service(self) -> None:
        self._service = self._applied = None
        self._copy = ""
        self.is_open = False

    def forget_redis(self) -> None:
        """After an outage: the server we are connected to may be a replica now, which answers but refuses writes."""
        self.redis.connection_pool.disconnect()


_resources: tuple[int, Resources] | None = None


def resources_of(settings: Settings) -> Resources:
    """This process's resources. A forked child has engine and client from its parent, and connections of its own."""
    global _resources
    process_id = os.getpid()
    if _resources is None or _resources[1].settings != settings:
        # Without a ping: a transaction that finds its connection cut takes a new one by itself.
        engine = create_engine(
            settings.database,
            idle_in_transaction_timeout=IDLE_IN_TRANSACTION_SECONDS,
            ping=False,
            session_settings=SESSION_SETTINGS,
        )
        _resources = (process_id, Resources(settings, engine, connect_redis(settings.redis_url)))
    elif _resources[0] != process_id:
        # The client sees by itself that it is in another process.
        engine, redis = _resources[1].engine, _resources[1].redis
        engine.dispose(close=False)
        _resources = (process_id, Resources(settings, engine, redis))
    return _resources[1]
