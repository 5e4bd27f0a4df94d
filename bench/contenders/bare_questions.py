"""The smallest program that answers questions: one process, one question at a time, with a prepared statement.

It has no limits but the size of a page, reports no errors, and writes nothing else.
"""

import os
from typing import Any

import orjson
from redis import Redis

from bench.contenders.orders_sql import connect
from bench.servers import GROUP, RESPONSES, STREAM

#: The fields of the contract, newest first.
SELECT = """
PREPARE history (text) AS
SELECT "orderId", symbol, type, quantity, "openPrice", "closePrice",
    to_char("openTime", 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), to_char("closeTime", 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
    "profitLoss", 'closed'
FROM "Orders" WHERE "userId" = $1 ORDER BY "closeTime" DESC, id DESC LIMIT 100
"""
NAMES = (
    *("orderId", "symbol", "type", "quantity", "openPrice", "closePrice", "openTime", "closeTime", "profitLoss"),
    "status",
)


def main() -> None:
    """Run until the process is ended."""
    redis = Redis.from_url(os.environ["REDIS_URL"], protocol=2)
    with connect().cursor() as cursor:
        cursor.execute("SET enable_bitmapscan = off; SET enable_sort = off; SET jit = off")
        cursor.execute(SELECT)
        while True:
            replies: Any = redis.xreadgroup(GROUP, "barest", {STREAM: ">"}, count=1, block=500)
            for _stream, entries in replies:
                for entry_id, fields in entries:
                    question = orjson.loads(fields[b"message"])
                    cursor.execute("EXECUTE history (%s)", (question["userId"],))
                    orders = [dict(zip(NAMES, row, strict=True)) for row in cursor.fetchall()]
                    answer = {
                        "function": question["function"],
                        "message": orjson.dumps(orders).decode(),
                        "requestId": question["requestId"],
                        "correlationId": question["requestId"],
                    }
                    with redis.pipeline(transaction=False) as pipeline:
                        pipeline.xadd(RESPONSES, {b"message": orjson.dumps(answer)}, maxlen=1_000, approximate=True)
                        pipeline.xack(STREAM, GROUP, entry_id)
                        pipeline.execute()


if __name__ == "__main__":
    main()
