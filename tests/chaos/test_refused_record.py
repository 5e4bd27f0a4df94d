"""A failure whose record the database refuses: it is recorded in a plain form, and what is behind it goes on."""

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from dbstorage.database.migrate import upgrade
from dbstorage.database.url import parse_database_url
from tests.chaos.conftest import Servers
from tests.chaos.liveness import wait_until_drained
from tests.service.platform import Platform, order, question, user
from tests.service.worker import StartWorker

#: None of these characters is in Latin 1.
ELSEWHERE = "漢字 €"


@pytest.fixture
def latin(servers: Servers, platform: Platform) -> Iterator[Platform]:
    """The platform on a database in whose encoding many characters cannot be written."""
    with closing(psycopg2.connect(servers.postgres.url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("DROP DATABASE IF EXISTS latin WITH (FORCE)")
            cursor.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'")
    url = servers.postgres.url_of("latin")
    upgrade(parse_database_url(url))
    with closing(Platform(servers.redis.url, url)) as latin:
        yield latin


def test_entries_with_characters_that_the_database_lacks_hold_nothing_up(
    latin: Platform, start_worker: StartWorker
) -> None:
    worker = start_worker(DATABASE_URL=latin.database_url, QUERY_TTL="3600")
    refused = latin.send(
        order(ELSEWHERE, "u"),
        order("o", ELSEWHERE),
        order("doge", "u", symbol=ELSEWHERE),
        user(ELSEWHERE),
        user("p", f"{ELSEWHERE}@example.com"),
        {"function": ELSEWHERE, "message": "?"},
    )
    refused += latin.send_raw({"function": "createCloseOrder", "message": ELSEWHERE}, {ELSEWHERE: ELSEWHERE})
    latin.send(user("u"), order("behind", "u"), question("u", "asks"))
    answer = latin.answer_to("asks")
    assert "error" not in answer
    assert [item["orderId"] for item in answer["orders"]] == ["behind"]
    wait_until_drained(latin)
    assert set(latin.failed_codes()) == set(refused)
    assert {state for state, _ in latin.failed_codes().values()} == {"failed"}
    assert "is away" not in worker.log
