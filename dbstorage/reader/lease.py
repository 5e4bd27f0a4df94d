"""Keys that expire unless their owner renews them: the reader's lease and a worker's sign of life."""

Command = tuple[str | bytes | int, ...]

#: Longer than the event loop is ever held up, shorter than the 10 s in which a standby has to take over.
LEASE_MILLISECONDS = 6_000
RENEW_SECONDS = 1.5
#: How often a standby looks whether it may read.
STANDBY_SECONDS = 0.4

#: Takes or renews a key. KEYS: the key. ARGV: token, milliseconds, a dead owner's token that may be replaced or "".
#: Returns the owner's token: ARGV[1] when it is ours now.
HOLD = """
local owner = redis.call('GET', KEYS[1])
if not owner or owner == ARGV[1] or owner == ARGV[3] then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    return ARGV[1]
end
return owner
"""

#: Gives a key up if it is ours. KEYS: the key. ARGV: token.
GIVE_UP = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


def hold(key: str, token: str, replaceable: str = "") -> Command:
    """Take or renew the key; the reply is the owner's token."""
    return ("EVAL", HOLD, 1, key, token, LEASE_MILLISECONDS, replaceable)


def give_up(key: str, token: str) -> Command:
    """Delete the key if it is ours."""
    return ("EVAL", GIVE_UP, 1, key, token)
