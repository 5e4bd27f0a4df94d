"""Reading the response stream as a client does, and asking for histories."""

import time
import uuid
from collections.abc import Iterator
from typing import Any

from redis import Redis

from dbstorage.redis_access.explained import redis_errors_explained
from dbstorage.settings import Settings
from dbstorage.wire.command import encode_command
from dbstorage.wire.entry import GET_CLOSE_ORDERS
from dbstorage.wire.received import ReceivedAnswer, decode_answer

#: Answers taken in one round trip.
AT_ONCE = 500
#: Milliseconds that one read waits at most; less than the client's own patience with Redis.
LONGEST_BLOCK = 1000


class AnswerReader:
    """Reads the answers that are written after it was made."""

    def __init__(self, redis: Redis, stream: str) -> None:
        """Remember where the stream ends now; raises RedisUnavailableError."""
        self._redis = redis
        self._stream = stream
        with redis_errors_explained():
            newest: Any = redis.xrevrange(stream, count=1)
        self._position = newest[0][0] if newest else b"0-0"

    def read(self, wait: float = 0.0) -> Iterator[ReceivedAnswer]:
        """Yield all answers that have come; where there are none, wait up to `wait` seconds (at most 1) for the first.

        Raises RedisUnavailableError.
        """
        while True:
            block = max(1, round(min(wait * 1000, LONGEST_BLOCK))) if wait > 0 else None
            with redis_errors_explained():
                reply: Any = self._redis.xread({self._stream: self._position}, count=AT_ONCE, block=block)
            if not reply:
                return
            [(_stream, entries)] = reply
            for self._position, fields in entries:  # where the next read begins
                answer = decode_answer(fields)
                if answer is not None:
                    yield answer
            wait = 0.0


def ask_history(
    redis: Redis,
    settings: Settings,
    user_id: str,
    *,
    limit: int | None = None,
    cursor: str | None = None,
    detail: bool = False,
    timeout: float,
) -> ReceivedAnswer | None:
    """Ask for a user's closed orders through the streams; None when no answer came within `timeout` seconds.

    Raises RedisUnavailableError.
    """
    request_id = str(uuid.uuid4())
    options = {"limit": limit, "cursor": cursor, "detail": detail or None}
    question = {
        "function": GET_CLOSE_ORDERS,
        "userId": user_id,
        "requestId": request_id,
        **{name: value for name, value in options.items() if value is not None},
    }
    answers = AnswerReader(redis, settings.response_stream)
    with redis_errors_explained():
        redis.xadd(settings.command_stream, encode_command(question))  # type: ignore[arg-type]
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        for answer in answers.read(left):
            if answer.request_id == request_id:
                return answer
    return None
