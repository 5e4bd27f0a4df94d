"""PostgreSQL and Redis for the benchmarks, the same for all contenders, with durable settings."""

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
from psycopg2.extras import execute_values
from redis import Redis

from bench.traffic import User
from dbstorage.database.migrate import upgrade
from dbstorage.database.url import parse_database_url
from dbstorage.embedded.postgres import EmbeddedPostgres
from dbstorage.embedded.redis import EmbeddedRedis
from dbstorage.settings import Settings

STREAM = Settings.command_stream
RESPONSES = Settings.response_stream
GROUP = Settings.consumer_group
#: Entries written in one round trip.
CHUNK = 1_000
REWRITE_SECONDS = 60.0


class Servers(NamedTuple):
    """Both servers, running, and a directory for the logs of what is measured."""

    directory: Path
    redis_url: str
    redis_pid: int
    database_url: str
    postgres_pid: int

    @property
    def environment(self) -> dict[str, str]:
        """The environment for a process that is to use them."""
        return {**os.environ, "REDIS_URL": self.redis_url, "DATABASE_URL": self.database_url}

    def redis(self) -> Redis:
        """A client that waits patiently."""
        return Redis.from_url(self.redis_url, protocol=2, socket_timeout=30)

    def query(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement by itself; its rows."""
        with closing(psycopg2.connect(self.database_url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters or None)
                return list(cursor.fetchall()) if cursor.description else []

    def reset(self, users: Sequence[User]) -> None:
        """Empty everything, create these users and the consumer group, then wait until both servers are idle."""
        with self.redis() as redis:
            redis.flushall()
            redis.xgroup_create(STREAM, GROUP, "0", mkstream=True)
        self.query(
            'TRUNCATE "Orders", "User", dbstorage.failed_tasks, dbstorage.applied_users RESTART IDENTITY CASCADE'
        )
        self.add_users(users)
        self.settle()

    def add_users(self, users: Sequence[User]) -> None:
        """Write users into their table."""
        with closing(psycopg2.connect(self.database_url)) as connection, connection, connection.cursor() as cursor:
            execute_values(cursor, 'INSERT INTO "User" ("userID", "email") VALUES %s', users)

    def fill_stream(self, entries: Sequence[bytes]) -> None:
        """Append commands to the command stream as the engine writes them."""
        with self.redis() as redis:
            for start in range(0, len(entries), CHUNK):
                with redis.pipeline(transaction=False) as pipeline:
                    for entry in entries[start : start + CHUNK]:
                        pipeline.xadd(STREAM, {b"message": entry})
                    pipeline.execute()

    def settle(self) -> None:
        """Do the servers' housekeeping (vacuum, checkpoint, append-only file) now, so that no measurement has it."""
        self.query("VACUUM (ANALYZE)")
        self.query("CHECKPOINT")
        with self.redis() as redis:
            redis.bgrewriteaof()
            deadline = time.monotonic() + REWRITE_SECONDS
            while time.monotonic() < deadline:
                persistence = redis.info("persistence")
                if not persistence["aof_rewrite_in_progress"] and not persistence["aof_rewrite_scheduled"]:
                    return
                time.sleep(0.05)


@contextmanager
def running_servers(postgres_settings: Mapping[str, str] | None = None) -> Iterator[Servers]:
    """Start both servers in a directory that is removed afterwards; the tables are migrated and empty.

    `postgres_settings` are for what is measured by the database itself; the rest stays as it comes.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dbstorage-bench-")))
        # The servers give up root's rights and have to come through here to their own directories.
        directory.chmod(0o711)
        redis = EmbeddedRedis(directory / "redis")
        redis.start()
        stack.callback(redis.stop)
        postgres = EmbeddedPostgres(directory / "postgresql", settings=postgres_settings)
        postgres.start()
        stack.callback(postgres.stop, "immediate")
        upgrade(parse_database_url(postgres.url))
        yield Servers(directory, redis.url, redis.pid, postgres.url, postgres.pid)
