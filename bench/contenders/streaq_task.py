"""streaQ at its best: a task for each 500 entries, writing them with the fastest statement.

`reader` publishes the tasks, `worker` runs two at a time; an entry is acknowledged by its task when it is stored.
"""

import asyncio
import os
import sys
import threading
from typing import Any

import orjson
from redis import Redis
from streaq import Worker

from bench.contenders.orders_sql import INSERT_ARRAYS, as_arrays, connect
from bench.contenders.reading import batches
from bench.servers import GROUP, STREAM

worker: Worker[Any] = Worker(redis_url=os.environ["REDIS_URL"], concurrency=2)
redis = Redis.from_url(os.environ["REDIS_URL"], protocol=2)
of_thread = threading.local()


@worker.task(name="store_orders", ttl=0, silent=True)
def store_orders(entry_ids: list[bytes], messages: list[bytes]) -> None:
    """Write the orders of some entries; streaQ runs it in a thread."""
    if not hasattr(of_thread, "cursor"):
        of_thread.cursor = connect().cursor()
    orders = [orjson.loads(message)["message"] for message in messages]
    of_thread.cursor.execute(INSERT_ARRAYS, as_arrays(orders))
    redis.xack(STREAM, GROUP, *entry_ids)


async def read() -> None:
    """Publish tasks until the process is ended."""
    async with worker:
        for entries in batches(redis, "reader", 500):
            await store_orders.enqueue([entry[0] for entry in entries], [entry[1][b"message"] for entry in entries])


if __name__ == "__main__":
    if sys.argv[1:] == ["reader"]:
        asyncio.run(read())
    else:
        worker.run_sync()
