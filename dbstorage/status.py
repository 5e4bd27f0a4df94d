"""How the service stands: its stream, its workers, its database and what failed; asks both servers, changes nothing."""

import time
from dataclasses import dataclass, field
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from dbstorage.database.engine import create_engine
from dbstorage.errors import DatabaseNotReadyError, DBStorageError, LockedError, RedisUnavailableError
from dbstorage.failed_tasks.connected import connected
from dbstorage.failed_tasks.lookup import count_by_code, read_locked
from dbstorage.metrics.figures import TOUCH_FAILED, StreamFigures, read_stream, refusal_of
from dbstorage.operating.broker_problem import broker_problem
from dbstorage.operating.facts import with_workers
from dbstorage.operating.last_hour import Point, read_points
from dbstorage.operating.pause import read_pause
from dbstorage.operating.today import LastOrder, Today, read_last_order, read_today
from dbstorage.operating.verdict import TREND_SECONDS, Facts, Pause, Verdict, judge, no_sentinel
from dbstorage.operating.workers import Worker, read_workers
from dbstorage.redis_access.client import NoSentinelError, connect_redis, silence_of_sentinels
from dbstorage.redis_access.explained import redis_errors_explained
from dbstorage.redis_access.holder import KeyHolder
from dbstorage.redis_access.keys import lease_key, worker_key
from dbstorage.redis_access.kind import other_kind
from dbstorage.settings import Settings, without_password

#: Unread entries that are counted one by one where Redis does not tell their number.
MOST_COUNTED = 10_000
#: SQLSTATEs of a missing right, and of a statement that took too long.
NOT_TO_BE_COUNTED = ("42501", "57014")


#: Of a stream that was another kind of key a moment ago.
REPLACED = "The key of the command stream was replaced just now."


@dataclass(frozen=True, kw_only=True)
class Consumer:
    """A member of the consumer group; `alive` says whether a worker of this name renews its sign of life."""

    name: str
    pending: int
    idle_seconds: float
    alive: bool


@dataclass(frozen=True, kw_only=True)
class LeadingReader:
    """The worker that reads the stream in strict order."""

    name: str
    host: str
    process_id: int


@dataclass(frozen=True, kw_only=True)
class StreamStatus:
    """The command stream as Redis tells it; None is what it cannot tell. Ages in seconds, by Redis' clock."""

    up: bool
    url: str
    #: Why Redis, or the stream in it, cannot be used.
    problem: str | None = None
    #: What Redis does not take, although the stream in it can be worked off.
    refusal: str | None = None
    #: Which sentinels do not answer, where that is all of them.
    silent_sentinels: str | None = None
    #: Redis, or Valkey.
    server: str | None = None
    version: str | None = None
    name: str
    group: str
    length: int | None = None
    lag: int | None = None
    #: Set where the lag is unknown because there are more unread entries than were counted.
    lag_at_least: int | None = None
    pending: int | None = None
    oldest_pending_seconds: float | None = None
    oldest_unread_seconds: float | None = None
    #: Entries that were trimmed before anybody read them.
    trimmed_unread: int | None = None
    #: Those of them of which no operator has said that it is known.
    lost: int = 0
    consumers: list[Consumer] | None = None
    ordering: str
    #: None in parallel order, and where nobody reads.
    reader: LeadingReader | None = None
    #: Those that read, stand by or wait, and those that are gone since less than an hour.
    workers: list[Worker] | None = None
    paused: Pause | None = None
    #: The last minutes, or the last hour where that was asked for.
    history: list[Point] | None = None
    #: By Redis' clock, in seconds since 1970.
    now: float | None = None


@dataclass(frozen=True, kw_only=True)
class DatabaseStatus:
    """PostgreSQL and the failed tasks in it; None is what could not be asked."""

    up: bool
    address: str
    problem: str | None = None
    version: str | None = None
    #: code -> state -> number of tasks
    failed_tasks: dict[str, dict[str, int]] | None = field(default=None)
    #: Orders that were closed today, in UTC; empty without one.
    today: list[Today] | None = None
    last_order: LastOrder | None = None
    #: A sentence for each row of "User" that another session has locked, and whose commands wait.
    locked: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ServiceStatus:
    """Both servers at one moment, and what that means."""

    verdict: Verdict
    redis: StreamStatus
    database: DatabaseStatus
    #: Why a broker of its own does not answer; None where it does, and where Redis is the broker.
    broker_problem: str | None = None


def read_status(settings: Settings, history_seconds: float = 2 * TREND_SECONDS) -> ServiceStatus:
    """Ask both servers. One that is away is reported as such; nothing is raised."""
    redis, database = _stream_status(settings, history_seconds), _database_status(settings)
    broker = broker_problem(settings)
    verdict = judge(_facts(redis, database.problem, broker))
    return ServiceStatus(verdict=verdict, redis=redis, database=database, broker_problem=broker)


def read_verdict(settings: Settings) -> Verdict:
    """The verdict alone: the database is only asked whether it can be used."""
    redis = _stream_status(settings, 2 * TREND_SECONDS)
    return judge(_facts(redis, _database_problem(settings), broker_problem(settings)))


def _facts(redis: StreamStatus, database_problem: str | None, broker_away: str | None) -> Facts:
    if redis.problem is not None:
        return Facts(
            now=time.time(),
            redis_problem=redis.problem,
            silent_sentinels=redis.silent_sentinels,
            database_problem=database_problem,
        )
    facts = Facts(
        now=redis.now or time.time(),
        stream=redis.name,
        pause=redis.paused,
        redis_refusal=redis.refusal,
        silent_sentinels=redis.silent_sentinels,
        lost=redis.lost,
        database_problem=database_problem,
        broker_problem=broker_away,
        unread=redis.lag if redis.lag is not None else redis.lag_at_least,
        pending=redis.pending,
        oldest_unread_seconds=redis.oldest_unread_seconds,
        oldest_pending_seconds=redis.oldest_pending_seconds,
    )
    return with_workers(facts, redis.workers or [], redis.history or [])


def _stream_status(settings: Settings, history_seconds: float) -> StreamStatus:
    known: dict[str, Any] = {
        "url": without_password(settings.redis_url),
        "name": settings.command_stream,
        "group": settings.consumer_group,
        "ordering": settings.ordering.value,
    }
    try:
        with connect_redis(settings.redis_url) as redis, redis_errors_explained():
            redis.ping()
            known |= {"up": True, **_version(redis)}
            figures = read_stream(redis, settings)
            if figures is None:
                return StreamStatus(**known, problem=other_kind(redis, settings.command_stream) or REPLACED)
            consumers = _consumers(redis, settings)
            seconds: Any = redis.time()
            return StreamStatus(
                **known,
                refusal=refusal_of(redis, settings),
                silent_sentinels=silence_of_sentinels(redis),
                length=figures.entries,
                **_lag(redis, settings, figures),
                pending=figures.pending,
                oldest_pending_seconds=figures.oldest_pending_age,
                oldest_unread_seconds=figures.oldest_unread_age,
                trimmed_unread=figures.trimmed_unread,
                lost=figures.lost,
                consumers=consumers,
                reader=_reader(redis, settings),
                workers=read_workers(redis, settings, [consumer.name for consumer in consumers or ()]),
                paused=read_pause(redis, settings),
                history=read_points(redis, settings, history_seconds),
                now=seconds[0] + seconds[1] / 1_000_000,
            )
    except RedisUnavailableError as error:
        known["up"] = False
        if isinstance(error.__cause__, NoSentinelError):
            silence = error.__cause__.silence
            return StreamStatus(**known, silent_sentinels=silence, problem=no_sentinel(silence))
        return StreamStatus(**known, problem=str(error))


def _version(redis: Redis) -> dict[str, str]:
    """What the server is and its version; nothing where it keeps that to itself, as some hosted ones do."""
    try:
        information: Any = redis.info("server")
    except ResponseError:
        return {}
    # Valkey's redis_version only says which Redis it is compatible with.
    for server in ("Valkey", "Redis"):
        if found := information.get(f"{server.lower()}_version"):
            return {"server": server, "version": str(found)}
    return {}


def _lag(redis: Redis, settings: Settings, figures: StreamFigures) -> dict[str, Any]:
    """Count what Redis does not tell after entries were deleted."""
    if figures.lag is not None or figures.pending is None:
        return {"lag": figures.lag}
    groups: Any = redis.xinfo_groups(settings.command_stream)
    [last_read] = [group["last-delivered-id"] for group in groups if group["name"] == settings.consumer_group.encode()]
    first: Any = redis.xrange(settings.command_stream, count=1)
    unread: Any = redis.xrange(settings.command_stream, min=b"(" + last_read, count=MOST_COUNTED + 1)
    if len(unread) <= MOST_COUNTED:
        return {"lag": len(unread)}
    if unread[0][0] == first[0][0]:
        return {"lag": figures.entries}  # nobody has read any of it
    return {"lag": None, "lag_at_least": len(unread)}


def _consumers(redis: Redis, settings: Settings) -> list[Consumer] | None:
    try:
        found: Any = redis.xinfo_consumers(settings.command_stream, settings.consumer_group)
    except ResponseError:
        return None  # no stream, or no such group
    names = [consumer["name"].decode(errors="replace") for consumer in found]
    signs: Any = redis.mget([worker_key(settings, name) for name in names]) if names else []
    return [
        Consumer(name=name, pending=item["pending"], idle_seconds=item["idle"] / 1000, alive=sign is not None)
        for name, item, sign in zip(names, found, signs, strict=True)
    ]


def _reader(redis: Redis, settings: Settings) -> LeadingReader | None:
    token: Any = redis.get(lease_key(settings))
    holder = KeyHolder.parse(token)
    return LeadingReader(name=holder.node_name, host=holder.host, process_id=holder.process_id) if holder else None


def _database_status(settings: Settings) -> DatabaseStatus:
    address = str(settings.database)
    version: str | None = None
    engine = create_engine(settings.database, application_name="dbstorage status")
    try:
        with connected(engine) as connection:
            version = str(connection.scalar(text("SHOW server_version")))
            counts = count_by_code(connection, settings.scope)
            today, last_order = _orders(connection)
            locked = read_locked(connection, settings.scope)
    except DBStorageError as error:
        up = isinstance(error, DatabaseNotReadyError | LockedError)
        return DatabaseStatus(up=up, address=address, version=version, problem=str(error))
    finally:
        engine.dispose()
    failed = {code: {state.value: number for state, number in states.items()} for code, states in counts.items()}
    return DatabaseStatus(
        up=True,
        address=address,
        version=version,
        failed_tasks=failed,
        today=today,
        last_order=last_order,
        locked=locked,
    )


def _orders(connection: Connection) -> tuple[list[Today] | None, LastOrder | None]:
    """Today's orders and the last one; None where the role may not see them, or they take too long to count."""
    try:
        with connection.begin_nested():
            return read_today(connection), read_last_order(connection)
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) not in NOT_TO_BE_COUNTED:
            raise
    return None, None


def _database_problem(settings: Settings) -> str | None:
    engine = create_engine(settings.database, application_name="dbstorage verdict")
    try:
        with connected(engine) as connection:
            connection.execute(TOUCH_FAILED)
    except DBStorageError as error:
        return str(error)
    finally:
        engine.dispose()
    return None
