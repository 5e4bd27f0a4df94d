"""Sends Redis commands as the reader's connection does; returns the plain reply or the error."""

from typing import Any

from redis.exceptions import ResponseError

from dbstorage.redis_access.client import connect_redis


class RawRedis:
    """One connection without redis-py's own reading of replies; `client` is an ordinary one beside it."""

    def __init__(self, url: str) -> None:
        self.client = connect_redis(url)
        pool: Any = self.client.connection_pool
        self._connection = pool.make_connection()
        self._connection.connect()

    def __call__(self, *command: str | bytes | int) -> Any:
        """Send a command; its reply, or the error that it was refused with."""
        self._connection.send_command(*command)
        try:
            return self._connection.read_response(disable_decoding=True)
        except ResponseError as error:
            return error

    def close(self) -> None:
        """Close both."""
        self._connection.disconnect()
        self.client.close()
