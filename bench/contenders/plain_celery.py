"""Celery as a good engineer would use it in an afternoon: a reader that publishes a task for each entry, and workers.

The worker is `celery -A bench.contenders.plain_celery worker`, the reader this module run as a program. An entry is
acknowledged when its task is in the broker; tasks are acknowledged late, so that nothing is lost with a process.
"""

import os
from functools import cache
from typing import Any

import orjson
from celery import Celery
from redis import Redis

from bench.contenders.orders_sql import INSERT_ROW, SELECT_ORDER, connect
from bench.contenders.reading import acknowledge, batches

app = Celery("plain", broker=os.environ["REDIS_URL"])
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_concurrency=2,
    broker_connection_retry_on_startup=True,
)


class UserUnknownError(Exception):
    """Raised while an order's user is not there yet; Celery tries again."""


@cache
def cursor() -> Any:
    """This process's database cursor."""
    return connect().cursor()


@app.task(name="store_order", autoretry_for=(UserUnknownError,), retry_backoff=True)  # type: ignore[untyped-decorator]
def store_order(order: dict[str, Any]) -> None:
    """Write one order."""
    cursor().execute(INSERT_ROW, order)
    if cursor().rowcount == 0:
        cursor().execute(SELECT_ORDER, order)
        if cursor().rowcount == 0:
            raise UserUnknownError(order["userId"])


def main() -> None:
    """Read until the process is ended."""
    redis = Redis.from_url(os.environ["REDIS_URL"], protocol=2)
    for entries in batches(redis, "reader", 100):
        for _, fields in entries:
            order = orjson.loads(fields[b"message"])["message"]
            store_order.apply_async((order,), task_id=f"createCloseOrder:{order['orderId']}")
        acknowledge(redis, entries)


if __name__ == "__main__":
    main()
