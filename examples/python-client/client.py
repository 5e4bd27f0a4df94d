"""A client of DBStorage: signs up a user, closes an order, asks for the history by requestId and prints it.

REDIS_URL says where Redis is (default redis://127.0.0.1:6379/0), the first argument which user it is.
"""

import json
import os
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import redis

COMMANDS = os.environ.get("DBSTORAGE_STREAM", "exness:dbstorage-stream")
RESPONSES = os.environ.get("RESPONSE_STREAM", "exness:response-stream")
#: Seconds; the service does not answer a question that is older.
TIMEOUT = 5.0


def send(client: redis.Redis, command: dict[str, Any]) -> None:
    """Write a command in the engine's own layout: one field that holds one JSON object."""
    client.xadd(COMMANDS, {"message": json.dumps(command)})


def ask(client: redis.Redis, user_id: str, **options: Any) -> dict[str, Any]:
    """Ask for a user's closed orders; `options` are limit, cursor and detail. Raises TimeoutError."""
    # Where to read from is found out before asking, or a quick answer would be missed.
    newest = client.xrevrange(RESPONSES, count=1)
    position = newest[0][0] if newest else "0-0"
    request_id = str(uuid.uuid4())
    send(client, {"function": "getCloseOrders", "userId": user_id, "requestId": request_id, **options})
    deadline = time.monotonic() + TIMEOUT
    while (left := deadline - time.monotonic()) > 0:
        for _stream, entries in client.xread({RESPONSES: position}, block=max(1, round(left * 1000))) or []:
            for entry_id, fields in entries:
                position = entry_id
                # An answer with a field `function` is in the other layout, so somebody else asked.
                answer: dict[str, Any] = {} if "function" in fields else json.loads(fields["message"])
                if answer.get("requestId") == request_id:
                    # The orders are JSON inside JSON.
                    return {**answer, "orders": json.loads(answer["message"])}
    raise TimeoutError(f"No answer within {TIMEOUT:g} s: is the service running?")


def main() -> None:
    """Sign up, close an order, print the history."""
    user_id = sys.argv[1] if len(sys.argv) > 1 else "python-example"
    now = datetime.now(UTC)
    order = {
        "orderId": str(uuid.uuid4()),
        "userId": user_id,
        "symbol": "btc",
        "type": "buy",
        "quantity": 0.5,
        "leverage": 10,
        "takeProfit": None,
        "stopLoss": 63000,
        "stippage": None,
        "openPrice": 64000.25,
        "closePrice": 64100.5,
        "openTime": (now - timedelta(minutes=5)).isoformat(),
        "closeTime": now.isoformat(),
        "profitLoss": 50.125,
    }
    person = {"userId": user_id, "userEmail": f"{user_id}@example.com"}
    url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
    try:
        # RESP 2 has the same shape of replies in every version of the package; reading waits longer than it blocks.
        with redis.Redis.from_url(url, decode_responses=True, protocol=2, socket_timeout=TIMEOUT + 5) as client:
            send(client, {"function": "createUser", "message": person})
            send(client, {"function": "createCloseOrder", "message": order})
            answer = ask(client, user_id, limit=10)
    except redis.RedisError as error:
        sys.exit(f"Redis cannot be used: {error}")
    except TimeoutError as error:
        sys.exit(str(error))
    if "error" in answer:
        sys.exit(f"The service answered with the error {answer['error']}.")
    for each in answer["orders"]:
        print(f"{each['closeTime']}  {each['orderId']}  {each['type']} {each['quantity']} {each['symbol']}", end="  ")
        print(f"{each['openPrice']} -> {each['closePrice']}  profit {each['profitLoss']}")
    if answer["hasMore"]:
        print("There are more: ask again with cursor =", answer["nextCursor"])


if __name__ == "__main__":
    main()
