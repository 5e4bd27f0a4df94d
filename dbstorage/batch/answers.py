"""Acknowledging entries and writing answers: one round trip to Redis for a whole batch."""

import re
import time
from collections.abc import Sequence, Set
from enum import IntEnum
from typing import NamedTuple

from redis import Redis
from redis.exceptions import RedisError

from dbstorage.errors import OtherDatabaseError, RedisUnavailableError
from dbstorage.redis_access.keys import stored_key
from dbstorage.settings import Settings
from dbstorage.storage.service import REMEMBER, Stored

#: Keeps the response stream within RESPONSE_MAXLEN and RESPONSE_MAXBYTES before an answer is added. The stream is
#: measured only for a large answer, many of which would be too much: `room` is what it leaves to the others, in bytes.
#: A user without the right to MEMORY USAGE keeps MAXLEN answers, whatever their size.
TRIM = """
local function trim(stream, most, room)
    redis.call('XTRIM', stream, 'MAXLEN', '~', most)
    if room == '' then return end
    local kept = redis.call('XLEN', stream)
    while kept > 0 do
        local used = redis.pcall('MEMORY', 'USAGE', stream, 'SAMPLES', 1000)
        if type(used) ~= 'number' or used <= tonumber(room) then return end
        kept = math.min(kept - 1, math.floor(kept * tonumber(room) / used))
        redis.call('XTRIM', stream, 'MAXLEN', kept)
    end
end
"""

#: Acknowledges a question and then answers it, in one step. Only the caller whose XACK succeeds answers, so no question
#: is answered twice, however often it runs. A question older than QUERY_TTL by Redis' own clock is not answered: the
#: client has given up, and could take a late answer for that of its next question.
#:
#: The order of the commands matters. One that is too old is acknowledged whatever is wrong with the response stream.
#: XTRIM fails where that is no stream, or not ours to write, before anything has changed. And a full Redis refuses XADD
#: only as the first command of a script that writes; it takes XTRIM and XACK, and then it takes the answer. What XADD
#: complains of after all this, such as ids that are used up, is told, and the question stays unanswered.
#:
#: KEYS: response stream, command stream. ARGV: group, entry id, milliseconds to live, MAXLEN, room, name, value, …
#: Returns a `Told`, or the complaint of XADD.
ANSWER_ONCE = f"""{TRIM}
local now = redis.call('TIME')
local age = now[1] * 1000 + math.floor(now[2] / 1000) - tonumber(string.match(ARGV[2], '^%d+'))
local late = age > tonumber(ARGV[3])
if not late then trim(KEYS[1], ARGV[4], ARGV[5]) end
if redis.call('XACK', KEYS[2], ARGV[1], ARGV[2]) == 0 then return 2 end
if late then return 0 end
local added = redis.pcall('XADD', KEYS[1], '*', unpack(ARGV, 6))
return type(added) == 'table' and added['err'] or 1
"""

#: Writes an answer. KEYS: response stream. ARGV: MAXLEN, room, name, value, …
ANSWER = f"""{TRIM}
trim(KEYS[1], ARGV[1], ARGV[2])
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 3))
"""

#: What Redis adds to an error in a script: the script's name and the line.
SCRIPT = re.compile(r",? script: .*@user_script:.*", re.DOTALL)
LONGEST_COMPLAINT = 200

#: An answer is small where so many times RESPONSE_MAXLEN of them fit. The stream is not measured for it, which would
#: take Redis twice as long as the answer itself. So small ones behind large ones may exceed the limit by half of it.
SMALL = 2


class Told(IntEnum):
    """What became of an answer."""

    TOO_LATE = 0
    ANSWERED = 1
    #: The question was acknowledged before, by whoever answered it or found it too old.
    BEFORE = 2
    #: Redis took the acknowledgement and not the answer: nobody will answer it.
    LOST = 3
    #: Redis took neither: the question is as it was.
    REFUSED = 4


class Answered(NamedTuple):
    """A question's entry id and the fields of its answer (name, value, …)."""

    entry_id: str
    fields: list[bytes]


def acknowledge_and_answer(
    redis: Redis,
    settings: Settings,
    acknowledged: Sequence[str],
    answers: Sequence[Answered],
    stored: Stored | None = None,
) -> tuple[list[Told], str]:
    """Acknowledge entries, then answer questions in order; returns what became of each answer.

    Returns, too, the error of Redis where it refused an answer, else "". Redis remembers what is `stored`.
    Raises OtherDatabaseError where that is another database than before, and RedisUnavailableError. A call with
    the same arguments then does only what was not done yet.
    """
    milliseconds = round(settings.query_ttl * 1000)
    with redis.pipeline(transaction=False) as pipeline:
        if acknowledged:
            pipeline.xack(settings.command_stream, settings.consumer_group, *acknowledged)
        if acknowledged and stored is not None:
            pipeline.eval(REMEMBER, 1, stored_key(settings), stored.text)
        for answer in answers:
            # Not by its hash: redis-py would first ask whether Redis knows the script, which is another round trip.
            pipeline.eval(
                ANSWER_ONCE,
                2,
                settings.response_stream,
                settings.command_stream,
                settings.consumer_group,
                answer.entry_id,
                milliseconds,
                settings.response_maxlen,
                _room(settings, answer.fields),
                *answer.fields,
            )
        try:
            replies = pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            raise RedisUnavailableError(f"Redis did not take an acknowledgement: {error}") from error
    first = len(replies) - len(answers)
    for reply in replies[:first]:
        if isinstance(reply, RedisError):
            raise RedisUnavailableError(f"Redis refused an acknowledgement: {shortened(reply)}") from reply
    if acknowledged and stored is not None and replies[1]:
        raise OtherDatabaseError("Another worker of this group stores in another database.")
    told, refusal = [], ""
    for reply in replies[first:]:
        if isinstance(reply, int):
            told.append(Told(reply))
            continue
        told.append(Told.REFUSED if isinstance(reply, RedisError) else Told.LOST)
        complaint = shortened(reply if isinstance(reply, RedisError) else reply.decode(errors="replace"))
        refusal = f"Redis refuses answers on the stream {settings.response_stream}: {complaint}"
    return told, refusal


def shortened(complaint: object) -> str:
    """The error of Redis without the name of the script in which it happened."""
    return SCRIPT.sub("", str(complaint))[:LONGEST_COMPLAINT]


def answer_call(redis: Redis, settings: Settings, fields: list[bytes]) -> None:
    """Write the answer of a question that came through the broker. Raises RedisUnavailableError."""
    try:
        redis.eval(ANSWER, 1, settings.response_stream, settings.response_maxlen, _room(settings, fields), *fields)
    except (RedisError, OSError) as error:
        raise RedisUnavailableError(f"Redis did not take an answer: {error}") from error


def _room(settings: Settings, fields: Sequence[bytes]) -> str:
    """The bytes that this answer leaves to all others in the stream; "" for a small answer."""
    size = sum(map(len, fields))
    if size * settings.response_maxlen * SMALL <= settings.response_maxbytes:
        return ""
    return str(max(0, settings.response_maxbytes - size))


def oldest_answerable(redis: Redis, settings: Settings, oldest_asked: int) -> int:
    """The entry id's milliseconds from which on a question is young enough to be answered.

    Redis' clock counts. It is not asked where the oldest question is younger than half of QUERY_TTL by our own clock.
    """
    half_its_life = round(settings.query_ttl * 500)
    if time.time() * 1000 - oldest_asked < half_its_life:
        return oldest_asked
    try:
        seconds, microseconds = redis.time()
    except (RedisError, OSError) as error:
        raise RedisUnavailableError(f"Redis could not tell its time: {error}") from error
    return int(seconds) * 1000 + int(microseconds) // 1000 - round(settings.query_ttl * 1000)


def older_pending(redis: Redis, settings: Settings, entry_id: str, ours: Set[bytes]) -> bool:
    """Whether an entry before this one is still pending, other than `ours`, the entries of this job."""
    try:
        pending = redis.xpending_range(
            settings.command_stream, settings.consumer_group, min="-", max=f"({entry_id}", count=4 * settings.batch_size
        )
    except (RedisError, OSError) as error:
        raise RedisUnavailableError(f"Redis could not tell what is pending: {error}") from error
    return any(item["message_id"] not in ours for item in pending)
