"""Whether Celery's broker can be reached."""

from collections.abc import Iterator
from typing import Any

from kombu.connection import Connection
from kombu.exceptions import OperationalError

from dbstorage.checks.finding import Finding, away, fine
from dbstorage.checks.redis_rights import check_broker_rights
from dbstorage.redis_access.client import without_objects
from dbstorage.settings import Settings, without_password
from dbstorage.urls.broker_url import broker_address

BROKER = "Broker"
CONNECT_TIMEOUT = 5.0


def check_broker(settings: Settings, *, trial: bool = True) -> Iterator[Finding]:
    """Yield a finding on whether the broker answers, and one for each thing that it refuses."""
    address = without_password(settings.broker_url)
    broker = broker_address(settings.broker_url)
    # kombu has no type hints.
    connect: Any = Connection
    with connect(
        broker.url, ssl=broker.ssl or False, transport_options=broker.transport_options, connect_timeout=CONNECT_TIMEOUT
    ) as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT_TIMEOUT)
        except (OperationalError, *connection.connection_errors, *connection.channel_errors) as error:
            yield away(BROKER, f"{address} cannot be used: {without_objects(error)[0].rstrip('.')}.")
        else:
            yield fine(BROKER, f"{address} answers.")
            yield from check_broker_rights(settings, trial=trial)
