"""Keys that expire unless their owner renews them: the reader's lease and a worker's sign of life."""

from typing import Any, NamedTuple

from dbstorage.reader.core import LEASE_SECONDS
from dbstorage.reader.group import Command, accepted

LEASE_MILLISECONDS = round(LEASE_SECONDS * 1000)

#: Takes or renews a key. KEYS: the key. ARGV: token, milliseconds, a dead owner's token that may be replaced or "".
#: Returns the owner's token and for how many milliseconds it has the key: ARGV[1] when it is ours now, "" where what
#: holds the key is not one of our tokens.
#:
#: Whoever else holds the key has as long as we would have: a key that does not expire, or too late, is given this time
#: to live. Its owner renews it, if there is one.
#:
#: A full Redis refuses SET, but only as the first command of a script that writes, and never PEXPIRE and DEL: so the
#: key is renewed without SET, and deleted before it is set.
HOLD = """
if redis.call('TYPE', KEYS[1]).ok ~= 'string' then redis.call('DEL', KEYS[1]) end
local owner = redis.call('GET', KEYS[1])
if owner == ARGV[1] then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return {owner, tonumber(ARGV[2])}
end
if not owner or owner == ARGV[3] then
    redis.call('DEL', KEYS[1])
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    return {ARGV[1], tonumber(ARGV[2])}
end
local left = redis.call('PTTL', KEYS[1])
if left < 0 or left > tonumber(ARGV[2]) then
    left = tonumber(ARGV[2])
    redis.call('PEXPIRE', KEYS[1], left)
end
if string.find(owner, '^{"node"[ -~]*$') then return {owner, left} end
return {'', left}
"""

#: Gives a key up if it is ours. KEYS: the key. ARGV: token.
GIVE_UP = """
if redis.call('TYPE', KEYS[1]).ok ~= 'string' or redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""


class Held(NamedTuple):
    """Who has a key: its token, empty where that is not one of ours, and for how many seconds unless it renews it."""

    token: bytes
    seconds: float


def hold(key: str, token: str, replaceable: str = "") -> Command:
    """Take or renew the key; `parse_held` reads the reply."""
    return ("EVAL", HOLD, 1, key, token, LEASE_MILLISECONDS, replaceable)


def parse_held(reply: Any) -> Held:
    """Who has the key now; raises RedisUnavailableError where Redis refused the command."""
    token, milliseconds = accepted(reply)
    return Held(token, milliseconds / 1000)


def give_up(key: str, token: str) -> Command:
    """Delete the key if it is ours."""
    return ("EVAL", GIVE_UP, 1, key, token)
