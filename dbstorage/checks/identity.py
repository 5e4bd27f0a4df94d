"""Whether this is the database that the service was stored in last."""

from collections.abc import Iterator
from typing import Any

from redis.exceptions import RedisError

from dbstorage.checks.finding import Finding, problem
from dbstorage.database.engine import create_engine
from dbstorage.errors import DBStorageError
from dbstorage.failed_tasks.connected import connected
from dbstorage.redis_access.client import connect_redis
from dbstorage.redis_access.keys import stored_key
from dbstorage.settings import Settings
from dbstorage.storage.service import Stored, difference, find_service, find_stored

SUBJECT = "stored so far"


def check_identity(settings: Settings) -> Iterator[Finding]:
    """Compare what Redis remembers with the database; yields nothing if one of them cannot be asked."""
    engine = create_engine(settings.database, application_name="dbstorage check")
    try:
        with connect_redis(settings.redis_url) as redis:
            remembered: Any = redis.get(stored_key(settings))
        with connected(engine) as connection:
            stored = find_stored(connection, find_service(connection, settings.scope))
    except (DBStorageError, RedisError, OSError):
        return
    finally:
        engine.dispose()
    sentence = difference(stored, Stored.parse(remembered))
    if sentence is not None:
        yield problem(SUBJECT, sentence)
