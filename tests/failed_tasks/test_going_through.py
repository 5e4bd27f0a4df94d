"""Retries from the operator's order to the stored row, with real workers."""

import json
from pathlib import Path

import redis
from sqlalchemy import Connection, text

from dbstorage.failed_tasks.changes import Change, apply
from dbstorage.failed_tasks.filters import Filter
from tests.failed_tasks.records import SCOPE, add, record
from tests.service.platform import order
from tests.service.worker import Worker
from tests.waiting import wait_until


def test_a_retry_outlives_everything_but_the_database(
    environment: dict[str, str], connection: Connection, tmp_path: Path
):
    payloads = [json.dumps(order(order_id, "user-1")).encode() for order_id in ("order-1", "order-2")]
    add(connection, *(record(code="user_not_found", payload=payload) for payload in payloads))
    connection.execute(text("INSERT INTO \"User\" (\"userID\", email) VALUES ('user-1', 'joe@example.com')"))
    connection.commit()
    # No worker runs, and Redis forgets whatever it holds.
    assert apply(connection, SCOPE, Filter(), Change.RETRY, who="joe") == 2
    with redis.Redis.from_url(environment["REDIS_URL"]) as client:
        client.flushall()
    with Worker(environment, tmp_path) as worker:
        worker.start()
        statement = text("SELECT bool_and(state = 'resolved') FROM dbstorage.failed_tasks")
        wait_until(lambda: connection.scalar(statement), "both to be resolved")
    assert connection.scalars(text('SELECT "orderId" FROM "Orders" ORDER BY 1')).all() == ["order-1", "order-2"]
