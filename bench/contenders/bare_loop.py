"""The least that could do: read 500 entries, write them with one statement, acknowledge them.

No retries, no failed tasks, no answers, no validation but the database's own, nobody to ask how it is going.
"""

import os

import orjson
from redis import Redis

from bench.contenders.orders_sql import INSERT_BATCH, connect
from bench.contenders.reading import acknowledge, batches


def main() -> None:
    """Run until the process is ended."""
    redis = Redis.from_url(os.environ["REDIS_URL"], protocol=2)
    with connect().cursor() as cursor:
        for entries in batches(redis, "bare-loop", 500):
            orders = [orjson.loads(fields[b"message"])["message"] for _, fields in entries]
            cursor.execute(INSERT_BATCH, (orjson.dumps(orders).decode(),))
            acknowledge(redis, entries)


if __name__ == "__main__":
    main()
