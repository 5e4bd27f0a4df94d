"""Asks Celery's broker for a sign of life over a connection of its own: Celery's waits without saying why."""

from typing import Any

from kombu.connection import Connection
from kombu.exceptions import OperationalError

from dbstorage.redis_access.client import redis_error
from dbstorage.settings import Settings, without_password
from dbstorage.urls.broker_url import broker_address
from dbstorage.urls.redis_url import is_redis

#: Seconds that the broker is waited for.
TIMEOUT = 2.0


def broker_problem(settings: Settings) -> str | None:
    """Why a broker of its own does not answer in time, as a sentence; None where it does.

    None, too, where the broker is the Redis of the streams, which everybody asks anyway.
    """
    if settings.broker_url == settings.redis_url:
        return None
    url = settings.broker_url
    error = redis_error(url, TIMEOUT) if is_redis(url) else _amqp_error(url)
    if error is None:
        return None
    return f"The broker {without_password(url)} does not answer: {str(error).rstrip('.')}."


def _amqp_error(url: str) -> Exception | None:
    broker = broker_address(url)
    # kombu has no type hints.
    connect: Any = Connection
    with connect(broker.url, ssl=broker.ssl or False, connect_timeout=TIMEOUT) as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=TIMEOUT)
        except (OperationalError, *connection.connection_errors, *connection.channel_errors) as error:
            return error  # type: ignore[no-any-return]
    return None
