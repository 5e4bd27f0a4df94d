"""A DATABASE_URL with several hosts: the one that takes writes is found."""

from urllib.parse import urlsplit

import psycopg2
import pytest

from dbstorage.embedded.ports import choose_port
from tests.service.platform import Platform, order, question, user
from tests.service.worker import StartWorker


@pytest.fixture
def hosts_url(database_url: str) -> str:
    """The test's database, behind a host where nobody is."""
    parts = urlsplit(database_url)
    login, _, place = parts.netloc.rpartition("@")
    return f"postgresql://{login}@127.0.0.1:{choose_port()},{place}{parts.path}?target_session_attrs=read-write"


def test_the_host_that_takes_writes_is_found_at_the_start_and_after_a_loss(
    platform: Platform, hosts_url: str, start_worker: StartWorker
) -> None:
    worker = start_worker("several", DATABASE_URL=hosts_url, QUERY_TTL="3600")
    platform.send(user("ann"), order("first", "ann"))
    platform.wait_until_finished()
    # Whatever was connected is cut, as by a promotion.
    with psycopg2.connect(platform.database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    platform.send(order("second", "ann"), question("ann", "asked"))
    assert len(platform.answer_to("asked")["orders"]) == 2
    assert worker.alive
