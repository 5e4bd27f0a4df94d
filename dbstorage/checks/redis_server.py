"""Checks Redis without changing anything: version, persistence, memory, and the two streams."""

import re
from collections.abc import Iterator
from typing import Any

from redis import Redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from dbstorage.checks.finding import Finding, Grade, away, fine, problem, warning
from dbstorage.checks.redis_rights import check_redis_rights
from dbstorage.checks.sentinel import check_sentinel
from dbstorage.operating.verdict import no_sentinel
from dbstorage.redis_access.acl import cluster_sentence
from dbstorage.redis_access.client import NoSentinelError, connect_redis
from dbstorage.redis_access.memory import why_full
from dbstorage.redis_access.trimmed import SENTENCE, trimmed_unread
from dbstorage.settings import Settings, without_password

OLDEST, NEWEST = (7, 0), (8, 99)
SUPPORTED = "7.0 to 8"
SERVER, PERSISTENCE, MEMORY = "Redis", "Redis persistence", "Redis memory"
#: A consumer group that has been idle for so long may have been left behind by mistake.
FORGOTTEN_SECONDS = 3600
COMMANDS, RESPONSES, GROUP = "Command stream", "Response stream", "Consumer group"


def check_redis(settings: Settings, *, trial: bool = True) -> Iterator[Finding]:
    """Yield what is found on the server, then on the streams; only the first finding when it cannot be reached.

    A `trial` may use a key of our own, where Redis does not say by itself what it would refuse.
    """
    address = without_password(settings.redis_url)
    with connect_redis(settings.redis_url, timeout=5) as redis:
        try:
            findings = [*_server(redis, address), *check_sentinel(redis, settings)]
            # Each check needs what the one before it found.
            if not _any_problem(findings):
                findings += check_redis_rights(redis, settings, trial=trial)
            if not _any_problem(findings):
                findings += _streams(redis, settings)
        except NoSentinelError as error:
            findings = [away(SERVER, no_sentinel(error.silence))]
        except (RedisError, OSError) as error:
            findings = [away(SERVER, f"{address} cannot be used: {str(error).rstrip('.')}.")]
    yield from findings


def _any_problem(findings: list[Finding]) -> bool:
    return any(finding.grade is Grade.PROBLEM for finding in findings)


def _server(redis: Redis, address: str) -> Iterator[Finding]:
    asking: Any = redis
    hello: Any = asking.execute_command("HELLO")
    said = {name.decode(): value for name, value in zip(hello[::2], hello[1::2], strict=True)}
    if said.get("mode") == b"cluster":
        yield problem(SERVER, cluster_sentence(address))
        return
    try:
        server: Any = redis.info("server")
        persistence: Any = redis.info("persistence")
        memory: Any = redis.info("memory")
    except NoPermissionError:
        # Without the right to INFO there is still the version that HELLO has told us.
        yield _version(address, {"redis_version": said["version"].decode(), "server": said["server"].decode()})
        yield warning(PERSISTENCE, "This user may not ask (INFO): whether Redis keeps its data is unknown to us.")
        return
    yield _version(address, server)
    yield _persistence(redis, persistence)
    yield _memory(memory)


def _version(address: str, server: dict[str, Any]) -> Finding:
    found = str(server.get("redis_version", ""))
    name = f"Redis {found}"
    if "valkey_version" in server:
        # Valkey 7.2 and later say they are compatible with Redis 7.2.
        name = f"Valkey {server['valkey_version']}, compatible with Redis {found}"
    numbers = re.match(r"(\d+)\.(\d+)", found)
    if numbers and OLDEST <= (int(numbers[1]), int(numbers[2])) <= NEWEST:
        return fine(SERVER, f"{name} at {address}.")
    return warning(SERVER, f"{name} at {address}; DBStorage expects Redis {SUPPORTED}.")


def _persistence(redis: Redis, persistence: dict[str, Any]) -> Finding:
    if persistence.get("loading"):
        return warning(PERSISTENCE, "Redis is still loading its data.")
    if persistence.get("aof_enabled"):
        if persistence.get("aof_last_write_status", "ok") != "ok":
            return problem(PERSISTENCE, "The append-only file cannot be written: is the disk full?")
        how_often = _configured(redis, "appendfsync")
        return fine(PERSISTENCE, f"Append-only file, written to disk {how_often or 'as configured (not shown to us)'}.")
    save = _configured(redis, "save")
    advice = "set appendonly yes, so that a crash of Redis loses a second of commands at most."
    if save is None:
        return warning(
            PERSISTENCE, f"No append-only file, and Redis does not show whether it saves snapshots: {advice}"
        )
    if save:
        return warning(
            PERSISTENCE, f"Snapshots only (save {save}), commands since the last one would be lost: {advice}"
        )
    return warning(PERSISTENCE, f"Nothing is written to disk, a restart of Redis would lose all commands: {advice}")


def _configured(redis: Redis, name: str) -> str | None:
    """A setting of the server; None where it does not show it, as with many hosted ones."""
    try:
        settings: Any = redis.config_get(name)
    except ResponseError:
        return None
    value = settings.get(name, settings.get(name.encode()))
    return value.decode() if isinstance(value, bytes) else value


def _memory(memory: dict[str, Any]) -> Finding:
    policy = memory.get("maxmemory_policy", "unknown")
    limit = memory.get("maxmemory")
    if not limit:
        return fine(MEMORY, f"No limit (maxmemory 0); policy {policy}.")
    if (full := why_full(memory)) is not None:
        return problem(MEMORY, full)
    size = f"Limited to {limit / 2**20:,.0f} MiB"
    if policy == "noeviction":
        return fine(MEMORY, f"{size}; policy noeviction: at the limit writers get an error and nothing is lost.")
    if policy.startswith("volatile-"):
        return warning(MEMORY, f"{size}; policy {policy}: at the limit our lease may vanish; better noeviction.")
    return warning(MEMORY, f"{size}; policy {policy}: at the limit a whole stream may vanish; better noeviction.")


def _streams(redis: Redis, settings: Settings) -> Iterator[Finding]:
    for subject, name in ((COMMANDS, settings.command_stream), (RESPONSES, settings.response_stream)):
        key_type: Any = redis.type(name)
        if key_type == b"none":
            yield fine(subject, f"{name} does not exist yet.")
        elif key_type != b"stream":
            yield problem(subject, f"{name} is a {key_type.decode()}, not a stream: rename one or the other.")
        else:
            stream: Any = redis.xinfo_stream(name)
            yield _stream(subject, name, stream)
            if subject == COMMANDS:
                yield from _groups(redis, settings, stream)


def _stream(subject: str, name: str, stream: dict[str, Any]) -> Finding:
    if not stream["length"]:
        return fine(subject, f"{name} is empty; its last entry was {stream['last-generated-id'].decode()}.")
    first, last = stream["first-entry"][0].decode(), stream["last-entry"][0].decode()
    return fine(subject, f"{name} holds {stream['length']:,} entries, {first} to {last}.")


def _trimmed(settings: Settings, stream: dict[str, Any], groups: Any) -> Iterator[Finding]:
    for group in groups:
        if group["name"].decode(errors="replace") == settings.consumer_group:
            gone = trimmed_unread(stream, group)
            if gone:
                yield problem(GROUP, f"{gone:,} {SENTENCE}")


def _forgotten(redis: Redis, settings: Settings, groups: Any) -> Iterator[Finding]:
    """Warn of idle groups: an entry is not trimmed before every group has acknowledged it, so the stream grows."""
    for group in groups:
        name = group["name"].decode(errors="replace")
        behind = group.get("lag") or 0
        if name == settings.consumer_group or not (behind or group["pending"]):
            continue
        consumers: Any = redis.xinfo_consumers(settings.command_stream, group["name"])
        idle = min((consumer["idle"] / 1000 for consumer in consumers), default=None)
        if idle is None or idle > FORGOTTEN_SECONDS:
            since = "has no consumer" if idle is None else f"was last served {idle / 3600:,.0f} hours ago"
            yield warning(
                GROUP,
                f"The group {name} {since} and has {behind + group['pending']:,} entries to see: the stream is not "
                f"trimmed before it has; if nobody needs it, XGROUP DESTROY {settings.command_stream} {name}.",
            )


def _groups(redis: Redis, settings: Settings, stream: dict[str, Any]) -> Iterator[Finding]:
    groups: Any = redis.xinfo_groups(settings.command_stream)
    names = [group["name"].decode(errors="replace") for group in groups]
    if settings.consumer_group not in names:
        yield warning(
            GROUP,
            f"{settings.consumer_group} does not exist yet: the first worker creates it at the stream's beginning "
            f"and works off the {stream['length']:,} entries that are there.",
        )
    yield from _trimmed(settings, stream, groups)
    yield from _forgotten(redis, settings, groups)
    for group, name in zip(groups, names, strict=True):
        # Redis does not know the lag after entries were deleted.
        lag = 0 if group["last-delivered-id"] == stream["last-generated-id"] else group.get("lag")
        behind = "unknown" if lag is None else f"{lag:,}"
        whose = "" if name == settings.consumer_group else " (not ours)"
        yield fine(
            GROUP,
            f"{name}{whose} has read up to {group['last-delivered-id'].decode()}. "
            f"Not read yet: {behind}; in hand: {group['pending']:,}; consumers: {group['consumers']}.",
        )
