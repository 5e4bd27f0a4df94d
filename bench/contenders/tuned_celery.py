"""Plain Celery with every setting tuned for speed, at a price: tasks that a worker holds are lost when it dies.

Tasks are published 500 in a round trip, many are fetched ahead, and the broker is not asked to remember them until they
are done (`ack_emulation`).
"""

import os

import orjson
from celery import Celery
from redis import Redis

from bench.contenders.plain_celery import store_order as store_order_plainly
from bench.contenders.reading import acknowledge, batches

app = Celery("tuned", broker=os.environ["REDIS_URL"])
app.conf.update(
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    worker_concurrency=2,
    worker_prefetch_multiplier=256,
    worker_disable_rate_limits=True,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    broker_transport_options={"ack_emulation": False},
    broker_connection_retry_on_startup=True,
)
store_order = app.task(name="store_order")(store_order_plainly.run)


def main() -> None:
    """Read until the process is ended."""
    redis = Redis.from_url(os.environ["REDIS_URL"], protocol=2)
    with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
        for entries in batches(redis, "reader", 500):
            with producer.batch(max_size=500):
                for _, fields in entries:
                    order = orjson.loads(fields[b"message"])["message"]
                    store_order.apply_async((order,), task_id=f"createCloseOrder:{order['orderId']}", producer=producer)
            acknowledge(redis, entries)


if __name__ == "__main__":
    main()
