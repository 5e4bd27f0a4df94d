"""Traffic with a known result: what must be stored, answered and failed once everything is worked off."""

import random
import threading
from typing import Any, Self

import redis

from dbstorage.audit import audit
from dbstorage.audit.outcomes import AuditOutcome
from dbstorage.settings import load_settings
from tests.service.platform import Platform, order, question, user

PEOPLE = 40


class Traffic:
    """Orders, users, questions and duplicates in random order, sent by a thread of their own."""

    def __init__(self, platform: Platform, commands: int, seed: int = 1, per_second: float = 2000) -> None:
        self.platform = Platform(platform.environment["REDIS_URL"], platform.environment["DATABASE_URL"])
        self.random = random.Random(seed)
        self.per_second = per_second
        self.orders: dict[str, str] = {}
        self.emails: dict[str, str] = {}
        self.questions: list[str] = []
        self.commands = list(self._commands(commands))
        self.sent = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)

    def _commands(self, count: int) -> list[dict[str, Any]]:
        people = [f"person-{number}" for number in range(PEOPLE)]
        commands = []
        for person in people:
            self.emails[person] = f"{person}@example.com"
            commands.append(user(person, self.emails[person]))
        sent_orders: list[dict[str, Any]] = []
        while len(commands) < count:
            person = self.random.choice(people)
            dice = self.random.random()
            if dice < 0.80:
                command = order(f"order-{len(sent_orders)}", person, profitLoss=float(len(sent_orders)))
                self.orders[f"order-{len(sent_orders)}"] = person
                sent_orders.append(command)
            elif dice < 0.87 and sent_orders:
                command = self.random.choice(sent_orders)
            elif dice < 0.92:
                self.emails[person] = f"{person}.{len(commands)}@example.com"
                command = user(person, self.emails[person])
            else:
                self.questions.append(f"question-{len(commands)}")
                command = question(person, self.questions[-1])
            commands.append(command)
        return commands

    def start(self) -> Self:
        """Begin to send."""
        self._thread.start()
        return self

    def _send(self) -> None:
        chunk = max(1, int(self.per_second / 20))
        pause = threading.Event()
        for start in range(0, len(self.commands), chunk):
            self._until_redis_takes(self.commands[start : start + chunk])
            pause.wait(chunk / self.per_second)
        self.sent.set()

    def _until_redis_takes(self, commands: list[dict[str, Any]]) -> None:
        pause = threading.Event()
        while True:
            try:
                self.platform.send(*commands)
                return
            except redis.RedisError:
                # As the engine does: it goes on when Redis is back. What was sent twice is a duplicate.
                pause.wait(0.1)

    def send_one_more(self) -> str:
        """Send an order beside the others, to see when it is stored; its orderId."""
        number = 1_000_000 + len(self.orders)
        self.orders[f"order-{number}"] = "person-0"
        self.platform.send(order(f"order-{number}", "person-0", profitLoss=float(number)))
        return f"order-{number}"

    def check_everything_is_stored_once(self) -> None:
        """Assert the end that this traffic must come to."""
        platform = self.platform
        failed = platform.failed("task_id", "state", "code", "message")
        assert failed == [], failed
        stored = platform.query('SELECT "orderId", "userId", "profitLoss" FROM "Orders"')
        assert len(stored) == len(self.orders), "orders lost or doubled"
        assert {row[0]: row[1] for row in stored} == self.orders
        assert all(row[2] == float(row[0].removeprefix("order-")) for row in stored)
        users = platform.users()
        assert {person: users.get(person) for person in self.emails} == self.emails
        assert platform.pending() == 0
        report = audit(load_settings(platform.environment))
        assert not report.missing, report.missing
        assert report.count(AuditOutcome.PENDING) == 0

    def unanswered(self) -> list[str]:
        """Questions whose requestId stands nowhere in the response stream."""
        answered = {answer.get("requestId") for answer in self.platform.answers()}
        return [request_id for request_id in self.questions if request_id not in answered]
