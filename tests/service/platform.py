"""The platform around the service, for tests: writes commands, reads answers, looks up what is stored."""

import itertools
import json
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import redis

from tests.waiting import PATIENCE, wait_until

STREAM = "exness:dbstorage-stream"
RESPONSES = "exness:response-stream"
GROUP = "dbstorage"

_numbers = itertools.count(1)


def order(order_id: str, user_id: str = "user-1", **fields: Any) -> dict[str, Any]:
    """A createCloseOrder command."""
    message = {
        "orderId": order_id,
        "userId": user_id,
        "symbol": "btc",
        "type": "buy",
        "quantity": 0.5,
        "leverage": 10,
        "takeProfit": None,
        "stopLoss": 145.5,
        "stippage": None,
        "openPrice": 100.25,
        "closePrice": 101.75,
        "openTime": "2026-05-05T00:00:00.000Z",
        "closeTime": "2026-05-05T00:00:01.000Z",
        "profitLoss": 7.5,
    }
    return {"function": "createCloseOrder", "message": {**message, **fields}, "requestId": f"r-{next(_numbers)}"}


def user(user_id: str, email: str | None = None) -> dict[str, Any]:
    """A createUser command."""
    return {"function": "createUser", "message": {"userId": user_id, "userEmail": email or f"{user_id}@example.com"}}


def question(user_id: str, request_id: str | None = None, **options: Any) -> dict[str, Any]:
    """A getCloseOrders command."""
    command = {"function": "getCloseOrders", "userId": user_id, **options}
    return command if request_id is None else {**command, "requestId": request_id}


class Platform:
    """Redis and PostgreSQL from the outside."""

    def __init__(self, redis_url: str, database_url: str) -> None:
        # Typed as Any: what a reply is depends on the protocol, which the types leave open.
        self.redis: Any = redis.Redis.from_url(redis_url, protocol=2)
        self.database_url = database_url
        self.environment = {"REDIS_URL": redis_url, "DATABASE_URL": database_url}
        self._connection: Any = None
        self._holding: list[Any] = []

    # Writing

    def send(self, *commands: dict[str, Any]) -> list[str]:
        """Add commands as the engine does, so that the worker meets them in one batch; their entry ids."""
        return self.send_raw(*({b"message": json.dumps(command).encode()} for command in commands))

    def send_raw(self, *entries: dict[Any, Any]) -> list[str]:
        """Add entries field by field."""
        ids: list[str] = []
        for start in range(0, len(entries), 1000):
            # A transaction: the worker reads them together.
            with self.redis.pipeline(transaction=True) as pipeline:
                for entry in entries[start : start + 1000]:
                    pipeline.xadd(STREAM, entry)
                ids += [entry_id.decode() for entry_id in pipeline.execute()]
        return ids

    # Reading

    def answers(self, newest: int | None = None) -> list[dict[str, Any]]:
        """The answers in the response stream, oldest first, each with its decoded orders under `orders`."""
        answers = []
        for _entry_id, fields in reversed(self.redis.xrevrange(RESPONSES, count=newest)):
            if b"function" in fields:
                answer = {name.decode(): value.decode() for name, value in fields.items()}
            else:
                answer = json.loads(fields[b"message"])
            answers.append({**answer, "orders": json.loads(answer["message"])})
        return answers

    def answer_to(self, request_id: Any) -> dict[str, Any]:
        """The first answer with this requestId, waited for."""
        [answer, *_] = wait_until(lambda: self.answers_to(request_id), f"an answer to {request_id}")
        return answer

    def answers_to(self, request_id: Any) -> list[dict[str, Any]]:
        """The answers with this requestId."""
        return [answer for answer in self.answers() if answer.get("requestId") == request_id]

    def pending(self) -> int:
        """Entries delivered and not acknowledged; none where the group does not exist yet."""
        try:
            return int(self.redis.xpending(STREAM, GROUP)["pending"])
        except redis.ResponseError:
            return 0

    def finished(self) -> bool:
        """Whether everything in the stream was delivered and acknowledged."""
        last = self.redis.xrevrange(STREAM, count=1)
        try:
            [group] = [group for group in self.redis.xinfo_groups(STREAM) if group["name"] == GROUP.encode()]
        except (redis.ResponseError, ValueError):
            return False
        return not last or (group["last-delivered-id"] == last[0][0] and group["pending"] == 0)

    def wait_until_finished(self, seconds: float = PATIENCE) -> None:
        """Wait until everything in the stream is acknowledged."""
        wait_until(self.finished, "the stream to be worked off", seconds)

    def query(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of a statement; a connection that a test's restart of PostgreSQL has cut is made anew."""
        try:
            return self._query(statement, parameters)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            self._connection = None
            return self._query(statement, parameters)

    def _query(self, statement: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = psycopg2.connect(self.database_url, options="-c search_path=public")
            self._connection.autocommit = True
        with self._connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []

    def orders(self) -> dict[str, str]:
        """orderId -> userId of every stored order."""
        return {row[0]: row[1] for row in self.query('SELECT "orderId", "userId" FROM "Orders"')}

    def users(self) -> dict[str, str]:
        """userID -> e-mail address of every user."""
        return {row[0]: row[1] for row in self.query('SELECT "userID", email FROM "User"')}

    def failed(self, *columns: str) -> list[tuple[Any, ...]]:
        """These columns of every failed task, in stream order."""
        return self.query(f"SELECT {', '.join(columns)} FROM dbstorage.failed_tasks ORDER BY id")

    def failed_codes(self) -> dict[str, tuple[str, str]]:
        """entry id -> (state, code) of every failed task."""
        return {entry_id: (state, code) for entry_id, state, code in self.failed("entry_id", "state", "code")}

    def failed_with_order(self, order_id: str) -> list[tuple[Any, ...]]:
        """task id, code and state of the failed tasks of an order."""
        return self.query(
            "SELECT task_id, code, state FROM dbstorage.failed_tasks WHERE order_id = %s ORDER BY id", order_id
        )

    def wait_for_state(self, entry_id: str, state: str) -> None:
        """Wait until the failed task of an entry is in this state."""
        wait_until(lambda: self.failed_codes().get(entry_id, ("",))[0] == state, f"{entry_id} to be {state}")

    def hold_orders(self) -> Any:
        """A connection that keeps orders from being written until it is closed."""
        connection = psycopg2.connect(self.database_url, options="-c search_path=public")
        connection.cursor().execute('LOCK TABLE "Orders" IN SHARE MODE')
        # A test that fails must not hold up the next one.
        self._holding.append(connection)
        return connection

    @contextmanager
    def locked_by(self, statement: str) -> Iterator[Any]:
        """Another program's transaction, which has run this statement and then idles; it is called `forgotten`."""
        options = "-c search_path=public -c application_name=forgotten"
        with closing(psycopg2.connect(self.database_url, options=options)) as connection:
            connection.cursor().execute(statement)
            yield connection

    def close(self) -> None:
        """Close the connections."""
        self.redis.close()
        for connection in (self._connection, *self._holding):
            if connection is not None:
                connection.close()


def commands_of(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The commands of a JSON-lines file."""
    return [json.loads(line) for line in lines]
