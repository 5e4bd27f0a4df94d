"""The smallest possible program: read 500 entries, write them with one statement, acknowledge them.

With the argument `arrays` it is the service's own statement in a session with the service's settings, else the one with
a JSON document. It has no retries, no failed tasks, no answers, no monitoring, and no validation but the database's.
"""

import os
import sys

import orjson
from redis import Redis

from bench.contenders.orders_sql import INSERT_AS_SERVICE, INSERT_BATCH, as_arrays, connect
from bench.contenders.reading import acknowledge, batches
from dbstorage.batch.resources import SESSION_SETTINGS


def main() -> None:
    """Run until the process is ended."""
    redis = Redis.from_url(os.environ["REDIS_URL"], protocol=2)
    as_service = sys.argv[1:] == ["arrays"]
    with connect().cursor() as cursor:
        for name, value in SESSION_SETTINGS.items() if as_service else ():
            cursor.execute("SELECT set_config(%s, %s, false)", (name, value))
        for entries in batches(redis, "bare-loop", 500):
            orders = [orjson.loads(fields[b"message"])["message"] for _, fields in entries]
            if as_service:
                cursor.execute(INSERT_AS_SERVICE, as_arrays(orders))
            else:
                cursor.execute(INSERT_BATCH, (orjson.dumps(orders).decode(),))
            acknowledge(redis, entries)


if __name__ == "__main__":
    main()
