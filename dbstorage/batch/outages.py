"""Which outage an error of ours stands for."""

from redis.exceptions import ResponseError

from dbstorage.errors import (
    DatabaseFaultError,
    DatabaseUnavailableError,
    RedisUnavailableError,
    ReplayRunningError,
)
from dbstorage.storage.outcome import Outage


def outage_of(error: DatabaseUnavailableError | RedisUnavailableError) -> Outage:
    """What keeps entries from being stored."""
    match error:
        case ReplayRunningError():
            return Outage.REPLAY
        case DatabaseFaultError():
            return Outage.FAULT
        case DatabaseUnavailableError():
            return Outage.DATABASE
        case _:
            # Redis is away, or answers and refuses what it is asked.
            return Outage.REFUSED if isinstance(error.__cause__, ResponseError) else Outage.REDIS
