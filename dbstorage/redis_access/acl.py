"""What our Redis users may touch: ACL lines for `dbstorage grants`, commands and channels for `dbstorage check`."""

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from dbstorage.redis_access.keys import TASK_QUEUE, prefix
from dbstorage.settings import Settings

#: Everything but what looks into the server or changes it.
SERVICE_COMMANDS = "+@all -@admin -@dangerous"
#: What an engine or a client does: write commands, read answers.
ENGINE_COMMANDS = (
    "-@all +xadd +xread +xrange +xrevrange +xlen +xinfo|stream +multi +exec +discard +ping +hello +select +auth "
    "+client|setname +client|setinfo +client|id"
)


class Trial(NamedTuple):
    """A command that the service sends, as ACL DRYRUN takes it."""

    arguments: tuple[str | int, ...]

    def __str__(self) -> str:
        """Name it as it stands in a sentence."""
        return " ".join(map(str, self.arguments[:3]))


def is_cluster(redis: Any) -> bool:
    """Whether the server is a node of a Redis Cluster. Needs no right; raises RedisError and OSError."""
    hello = redis.execute_command("HELLO")
    return b"cluster" in [value for name, value in zip(hello[::2], hello[1::2], strict=True) if name == b"mode"]


def cluster_sentence(address: str) -> str:
    """The sentence on a Redis Cluster at this address."""
    return (
        f"{address} is a Redis Cluster, with which neither the streams nor Celery's broker work: give the service a "
        "Redis of its own, with replicas if need be."
    )


def worker_channels(settings: Settings) -> list[str]:
    """The first two of `channels`, without which a worker does not start."""
    return list(channels(settings))[:2]


def channels(settings: Settings) -> Iterator[str]:
    """The patterns that the broker's clients subscribe to: they have to stand in an ACL letter by letter.

    kombu writes the number of the database into them, and the key prefix before it.
    """
    own = f"{prefix(settings.scope)}/{_database(settings)}."
    yield f"{own}celery.pidbox"
    yield f"{own}celeryev/worker.*"
    yield f"{own}celeryev/*"


def acl_lines(settings: Settings, service: str, flower: str, engine: str) -> list[str]:
    """Lines for ACL SETUSER, each with a comment above it; passwords are left to fill in."""
    own = _escaped(prefix(settings.scope))
    commands, responses = _escaped(settings.command_stream), _escaped(settings.response_stream)
    broker = f"resetchannels &{own}* " + " ".join(f"&{pattern}" for pattern in channels(settings))
    keys = f"resetkeys ~{commands} ~{responses} ~{own}*"
    looks = f"resetkeys %R~{commands} %R~{responses} ~{own}*"
    return [
        "# The worker and the dbstorage command.",
        f"user {service} on ><password> {keys} {broker} {SERVICE_COMMANDS}",
        "# Flower.",
        f"user {flower} on ><password> {looks} {broker} {SERVICE_COMMANDS}",
        "# The engine and its clients: they write commands and read answers.",
        f"user {engine} on ><password> resetkeys ~{commands} %R~{responses} resetchannels {ENGINE_COMMANDS}",
    ]


def trials(settings: Settings) -> Iterator[Trial]:
    """Commands that the service sends to Redis, those in its scripts too, with the keys that are in use."""
    commands, responses, group = settings.command_stream, settings.response_stream, settings.consumer_group
    own = prefix(settings.scope)
    lease, alone, workers = f"{own}lease", f"{own}alone:check", f"{own}workers"
    tries: tuple[tuple[str | int, ...], ...] = (
        ("XGROUP", "CREATE", commands, group, "0", "MKSTREAM"),
        ("XGROUP", "DELCONSUMER", commands, group, "check"),
        ("XREADGROUP", "GROUP", group, "check", "COUNT", 1, "STREAMS", commands, ">"),
        ("XACK", commands, group, "0-1"),
        ("XPENDING", commands, group, "-", "+", 1),
        ("XCLAIM", commands, group, "check", 0, "0-1"),
        ("XLEN", commands),
        ("XRANGE", commands, "-", "+", "COUNT", 1),
        ("XINFO", "STREAM", commands),
        ("XINFO", "GROUPS", commands),
        ("XINFO", "CONSUMERS", commands, group),
        ("XTRIM", commands, "MAXLEN", 1_000_000),
        ("XADD", responses, "*", "message", "check"),
        ("XTRIM", responses, "MAXLEN", 1_000_000),
        ("MEMORY", "USAGE", responses),
        ("XINFO", "STREAM", responses),
        ("EVAL", "return 1", 2, responses, commands),
        ("TYPE", lease),
        ("SET", lease, "check", "PX", 1),
        ("GET", lease),
        ("PTTL", lease),
        ("PEXPIRE", lease, 1),
        ("DEL", lease),
        ("EXISTS", f"{own}worker:check"),
        ("MGET", f"{own}worker:check"),
        ("HINCRBY", alone, "starts", 1),
        ("HGET", alone, "server"),
        ("HSET", workers, "check", "check"),
        ("HGETALL", workers),
        ("HDEL", workers, "check"),
        ("EXPIRE", workers, 1),
        ("XADD", f"{own}history", "*", "point", "check"),
        ("TIME",),
        ("PING",),
    )
    yield from map(Trial, tries)


def broker_trials(settings: Settings) -> Iterator[Trial]:
    """Commands that Celery's broker sends to Redis."""
    own = prefix(settings.scope)
    yield from (
        Trial(("LPUSH", f"{own}{TASK_QUEUE}", "check")),
        Trial(("BRPOP", f"{own}{TASK_QUEUE}", 1)),
        Trial(("SADD", f"{own}_kombu.binding.{TASK_QUEUE}", "check")),
        Trial(("ZADD", f"{own}unacked_index", 1, "check")),
        Trial(("HSET", f"{own}unacked", "check", "check")),
        Trial(("PUBLISH", f"{own}/{_database(settings)}.celeryev/worker.heartbeat", "check")),
    )


def _database(settings: Settings) -> int:
    number = urlsplit(settings.broker_url).path.strip("/")
    return int(number) if number.isdecimal() else 0


def _escaped(name: str) -> str:
    """A name as a pattern that means itself; a pattern holds no blank."""
    special = "\\*?[]"
    return "".join(
        "?" if character.isspace() else f"\\{character}" if character in special else character for character in name
    )
