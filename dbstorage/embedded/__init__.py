"""Real PostgreSQL and Redis servers from Python wheels, for `dbstorage up` and for the tests."""

from dbstorage.embedded.postgres import EmbeddedPostgres
from dbstorage.embedded.redis import EmbeddedRedis
from dbstorage.embedded.running import running_servers

__all__ = ["EmbeddedPostgres", "EmbeddedRedis", "running_servers"]
