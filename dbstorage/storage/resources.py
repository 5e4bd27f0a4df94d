"""What a pool process holds: settings, one database engine, the tables' shape and one Redis client."""

import os
from dataclasses import dataclass, field

from redis import Redis
from sqlalchemy import Connection, Engine

from dbstorage.database.engine import create_engine
from dbstorage.database.shape import TableShape, inspect_shape
from dbstorage.redis_connection import connect_redis
from dbstorage.settings import Settings
from dbstorage.storage.service import Service, find_service

#: Milliseconds that a statement waits for a lock, before we look who holds it.
LOCK_TIMEOUT = 200
#: PostgreSQL plans for the average user: of one who has ten thousand orders it would gather and sort them all, instead
#: of reading the first through the index. And it expects a hundred questions where there is one, which would make
#: compiling the statement seem worth its time.
SESSION_SETTINGS = {
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "jit": "off",
    "lock_timeout": str(LOCK_TIMEOUT),
}


@dataclass
class Resources:
    """Connections are made when first used and made anew after they were lost."""

    settings: Settings
    engine: Engine
    redis: Redis
    _shape: TableShape | None = field(default=None)
    _service: Service | None = field(default=None)

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

    def forget_shape(self) -> TableShape | None:
        """After an unexpected error: the tables may have changed under us. Returns what was known of them."""
        shape, self._shape = self._shape, None
        return shape

    def forget_database(self) -> None:
        """After an outage: another server may answer."""
        self._shape = self._service = None
        self.engine.dispose()


_resources: tuple[int, Resources] | None = None


def resources_of(settings: Settings) -> Resources:
    """This process's resources; a forked child makes its own."""
    global _resources
    if _resources is None or _resources[0] != os.getpid() or _resources[1].settings != settings:
        # Without a ping: a transaction that finds its connection cut takes a new one by itself.
        engine = create_engine(settings.database, ping=False, session_settings=SESSION_SETTINGS)
        _resources = (os.getpid(), Resources(settings, engine, connect_redis(settings.redis_url)))
    return _resources[1]
