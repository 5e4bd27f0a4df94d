"""Poison detection: what may have killed its process runs alone, and its starts without an end are counted in Redis.

An entry is suspect from its third delivery on. Failed tasks are suspect when a process died that ran them together.
"""

from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from dbstorage.batch.batch_writer import BatchWriter
from dbstorage.errors import DatabaseUnavailableError, RedisUnavailableError, SessionLostError
from dbstorage.redis_access.keys import alone_key
from dbstorage.settings import Settings
from dbstorage.storage.work import Work

#: Deaths after which a suspect is poison. More than one, because a kill from outside may meet it by chance.
POISON_DEATHS = 3
COUNT_EXPIRES_SECONDS = 86_400


#: Counts one more start. Those under another Redis do not count: its end explains why they came to none. PEXPIRE stands
#: in front because a full Redis refuses HINCRBY as the first write of a script.
#: KEYS: the count. ARGV: milliseconds until it expires. Returns the number of starts without an end.
COUNT_START = """
redis.call('PEXPIRE', KEYS[1], ARGV[1])
local told = redis.pcall('INFO', 'server')
local server = type(told) == 'string' and string.match(told, 'run_id:(%w+)') or ''
if redis.call('HGET', KEYS[1], 'server') ~= server then
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[1], 'server', server)
end
local starts = redis.call('HINCRBY', KEYS[1], 'starts', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return starts
"""

#: Keys of runs that ended in this process while Redis was away, so that their counts are still to be deleted.
_ended: set[str] = set()


def try_recording(writer: BatchWriter, work: Work) -> None:
    """Record this failed work and roll back, to see that the database takes writes before a suspect runs.

    Raises DatabaseUnavailableError, as SessionLostError only what the suspect may have done.
    """
    try:
        writer.trial(work)
    except SessionLostError as lost:
        raise DatabaseUnavailableError(str(lost)) from lost


def begin_alone(redis: Redis, settings: Settings, name: str) -> int:
    """Note that `name` begins to run alone, and return how often it has begun without coming to an end.

    From POISON_DEATHS on it must not run. Raises RedisUnavailableError.
    """
    try:
        if _ended:
            redis.delete(*_ended)
            _ended.clear()
        starts: Any = redis.eval(COUNT_START, 1, alone_key(settings, name), COUNT_EXPIRES_SECONDS * 1000)
    except (RedisError, OSError) as error:
        raise RedisUnavailableError(f"Redis could not count the start of a run alone: {error}") from error
    return int(starts) - 1


def end_alone(redis: Redis, settings: Settings, name: str) -> None:
    """Note that the run of `name` has ended. Where Redis is away, this is done before the next run of this process.

    Raises RedisUnavailableError.
    """
    key = alone_key(settings, name)
    try:
        redis.delete(key)
    except (RedisError, OSError) as error:
        _ended.add(key)
        raise RedisUnavailableError(f"Redis could not note the end of a run alone: {error}") from error
