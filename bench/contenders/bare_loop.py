"""The least that could do: read 500 entries, write them with one statement, acknowledge them.

With the argument `arrays` it is the statement that is fastest for PostgreSQL, else the one with a JSON document. No
retries, no failed tasks, no answers, no validation but the database's own, nobody to ask how it is going.
"""

import os
import sys

import orjson
from redis import Redis

from bench.contenders.orders_sql import INSERT_ARRAYS, INSERT_BATCH, as_arrays, connect
from bench.contenders.reading import acknowledge, batches


def main() -> None:
    """Run until the process is ended."""
    redis = Redis.from_url(os.environ["REDIS_URL"], protocol=2)
    with connect().cursor() as cursor:
        for entries in batches(redis, "bare-loop", 500):
            orders = [orjson.loads(fields[b"message"])["message"] for _, fields in entries]
            if sys.argv[1:] == ["arrays"]:
                cursor.execute(INSERT_ARRAYS, as_arrays(orders))
            else:
                cursor.execute(INSERT_BATCH, (orjson.dumps(orders).decode(),))
            acknowledge(redis, entries)


if __name__ == "__main__":
    main()
