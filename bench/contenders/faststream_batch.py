"""FastStream's subscriber for batches of a Redis stream, writing them with the fastest statement."""

import asyncio
import os
from typing import Any

from faststream import FastStream
from faststream.redis import RedisBroker, StreamSub
from faststream.redis.parser import BinaryMessageFormatV1

from bench.contenders.orders_sql import INSERT_ARRAYS, as_arrays, connect
from bench.servers import GROUP, STREAM


class EngineFormat(BinaryMessageFormatV1):
    """The engine's entries: one field `message` that holds JSON, not FastStream's own format."""

    @classmethod
    def parse(cls, data: Any) -> tuple[bytes, dict[str, Any]]:
        """The JSON text of an entry's fields, and no headers."""
        return data[b"message"], {}


def main() -> None:
    """Run until the process is ended."""
    broker = RedisBroker(os.environ["REDIS_URL"], message_format=EngineFormat)
    cursor = connect().cursor()
    stream = StreamSub(STREAM, group=GROUP, consumer="faststream", batch=True, max_records=500)

    @broker.subscriber(stream=stream)
    async def store_orders(commands: list[dict[str, Any]]) -> None:
        # Blocking is no loss here: the next batch is read only when this one is acknowledged.
        cursor.execute(INSERT_ARRAYS, as_arrays([command["message"] for command in commands]))

    asyncio.run(FastStream(broker).run())


if __name__ == "__main__":
    main()
