"""Checks that our Redis user may do what the service and its broker do: by ACL DRYRUN, else by trying on a key."""

import secrets
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from redis.exceptions import NoPermissionError, RedisError, ResponseError

from dbstorage.checks.finding import Finding, fine, problem
from dbstorage.redis_access.acl import Trial, broker_trials, channels, trials
from dbstorage.redis_access.client import connect_redis
from dbstorage.redis_access.keys import prefix
from dbstorage.settings import Settings
from dbstorage.urls.redis_url import is_redis

RIGHTS, CHANNELS = "Redis rights", "Broker channels"
HOW = "dbstorage grants prints the ACL line"


def check_redis_rights(redis: Any, settings: Settings, *, trial: bool) -> Iterator[Finding]:
    """Yield what the user of REDIS_URL may not do with the streams and our keys."""
    yield from _check(redis, settings, list(trials(settings)), RIGHTS, trial=trial)


def check_broker_rights(settings: Settings, *, trial: bool) -> Iterator[Finding]:
    """Yield what the user of a Redis broker may not do; nothing for another broker."""
    if not is_redis(settings.broker_url):
        return
    # redis-py types only a part of what is used here.
    connect: Any = connect_redis
    with connect(settings.broker_url, timeout=5) as redis:
        yield from _check(redis, settings, list(broker_trials(settings)), CHANNELS, trial=trial)
        yield from _channels(redis, settings)


def _check(redis: Any, settings: Settings, wanted: list[Trial], subject: str, *, trial: bool) -> Iterator[Finding]:
    refused = _dry_run(redis, wanted)
    if refused is None:
        refused = list(_harmless(redis, settings, wanted)) if trial else []
    for sentence in refused:
        yield problem(subject, f"{sentence}; {HOW}.")
    if not refused and subject == RIGHTS:
        yield fine(subject, "The user in REDIS_URL may do what the service does.")


def _dry_run(redis: Any, wanted: list[Trial]) -> list[str] | None:
    """What ACL DRYRUN says of commands that Redis would refuse; None if the user may not ask."""
    try:
        user: Any = redis.execute_command("ACL", "WHOAMI")
        replies = [redis.execute_command("ACL", "DRYRUN", user, *trial.arguments) for trial in wanted]
    except ResponseError:
        return None
    refusals = [reply.decode() if isinstance(reply, bytes) else str(reply) for reply in replies]
    return [
        f"{trial} is refused: {refusal.rstrip('.')}"
        for trial, refusal in zip(wanted, refusals, strict=True)
        if refusal != "OK"
    ]


def _harmless(redis: Any, settings: Settings, wanted: list[Trial]) -> Iterator[str]:
    """Send commands that change nothing as they are, the others with a key of our own, which is removed at the end."""
    own = f"{prefix(settings.scope)}check:{secrets.token_hex(8)}"
    told: set[str] = set()
    try:
        for trial in wanted:
            for arguments in _variants(trial, own, settings):
                try:
                    redis.execute_command(*arguments)
                except NoPermissionError as error:
                    if str(error) not in told:
                        told.add(str(error))
                        yield f"{' '.join(map(str, arguments[:3]))} is refused: {str(error).rstrip('.')}"
                except ResponseError:
                    pass  # it was let through, and had nothing to work on
    finally:
        with suppress(RedisError):
            redis.delete(own)


def _variants(trial: Trial, own: str, settings: Settings) -> Iterator[tuple[str | int, ...]]:
    """The command on a key of ours, which shows whether it is allowed; on the real key only if it changes nothing."""
    name = trial.arguments[0]
    if name == "PUBLISH":
        return
    theirs = (settings.command_stream, settings.response_stream)
    first = next(
        (part for part in trial.arguments[1:] if part in theirs or str(part).startswith(prefix(settings.scope))), ""
    )
    if name == "BRPOP":
        yield ("LPOP", own)
        return
    yield tuple(own if part in (*theirs, first) else part for part in trial.arguments)
    if name in ("XTRIM", "XRANGE", "XINFO", "XACK", "XPENDING") or name == "EVAL":
        yield trial.arguments
    yield ("DEL", own)


def _channels(redis: Any, settings: Settings) -> Iterator[Finding]:
    refused = []
    for pattern in channels(settings):
        listener = redis.pubsub()
        try:
            listener.psubscribe(pattern)
            listener.get_message(timeout=1)
        except ResponseError as error:
            refused.append(
                f"The channel pattern {pattern} is refused ({str(error).rstrip('.')}): add &{pattern}; {HOW}."
            )
        finally:
            listener.close()
    for sentence in refused:
        yield problem(CHANNELS, sentence)
    if not refused:
        yield fine(CHANNELS, "The broker's channels are open to us.")
