"""Invented traffic: commands at random, in every spelling that the contract allows."""

import json
import random
from typing import Any, NamedTuple

PEOPLE = [*(f"person-{number}" for number in range(8)), "100", "101", "1e3"]
EMAILS = [f"mail-{number}@example.com" for number in range(10)]
CLOSE_TIMES = [f"2026-05-05T00:00:{second:02}.000Z" for second in range(1, 30)]
#: Entries that are refused, with their code.
REFUSED: list[tuple[dict[str, bytes], str]] = [
    ({"message": b"{"}, "invalid_entry"),
    ({"message": b'{"function":"dropUser"}'}, "unknown_function"),
    ({"function": b"createUser", "message": b'{"userId":"person-1"}'}, "invalid_user_email"),
    ({"function": b"createCloseOrder", "message": b'"person-1"'}, "invalid_entry"),
    ({"message": b'{"function":"createCloseOrder","message":{"orderId":"o","userId":"u"}}'}, "invalid_symbol"),
]


class Command(NamedTuple):
    """A command as it is meant (`kind`, `values`) and as it is written (`fields`)."""

    kind: str
    values: dict[str, Any]
    fields: dict[str, bytes]


class Inventor:
    """Makes commands at random; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self._orders: list[dict[str, Any]] = []
        self._questions = 0

    def commands(self, count: int) -> list[Command]:
        """So many commands, the first of them users."""
        first = [self._user() for _ in range(min(count, 6))]
        kinds = self.dice.choices([self._order, self._user, self._question, self._refused], (70, 12, 16, 2), k=count)
        return first + [kind() for kind in kinds[len(first) :]]

    def user(self, user_id: str, email: str) -> Command:
        """A createUser."""
        who = {"userId": self._id(user_id), "userEmail": email}
        values = {"user_id": user_id, "email": email}
        if self.dice.random() < 0.3:
            return Command("user", values, self._written({"function": "createUser", "message": None, **who}))
        return Command("user", values, self._written({"function": "createUser", "message": who}))

    def question(self, user_id: str, **options: Any) -> Command:
        """A getCloseOrders with a requestId."""
        self._questions += 1
        request_id = self.dice.choice(
            [f"question-{self._questions}", self._questions, "q" * 300 + str(self._questions)]
        )
        echo = {self.dice.choice(["requestId", "correlationId"]): request_id}
        return self._asked(user_id, options, echo)

    def _user(self) -> Command:
        return self.user(self.dice.choice(PEOPLE), self.dice.choice(EMAILS))

    def _question(self) -> Command:
        options = {"limit": self.dice.choice([1, 3, "20", 1000]), "detail": self.dice.choice([True, "false"])}
        chosen = {name: value for name, value in options.items() if self.dice.random() < 0.5}
        if self.dice.random() < 0.7:
            return self.question(self.dice.choice(PEOPLE), **chosen)
        return self._asked(self.dice.choice(PEOPLE), chosen, self.dice.choice([{}, {"requestId": {"not": ""}}]))

    def _asked(self, user_id: str, options: dict[str, Any], echo: dict[str, Any]) -> Command:
        who = self._id(user_id)
        spelled: dict[str, Any] = self.dice.choice(
            [
                {"userId": who, "message": "person-0", **options},
                {"userId": who, "message": options},
                {"message": {"userId": who, **options}},
                {"userId": "", "message": str(who), **options},
            ]
        )
        values = {"user_id": user_id, "limit": int(options.get("limit", 100)), "echo": echo}
        return Command("question", values, self._written({"function": "getCloseOrders", **spelled, **echo}))

    def _order(self) -> Command:
        throw = self.dice.random()
        if self._orders and throw < 0.12:
            message = dict(self.dice.choice(self._orders[-30:]))
            if throw < 0.05:
                message["quantity"] = self.dice.randrange(1, 5)
            if throw < 0.08:
                message["userId"] = self.dice.choice(PEOPLE)
        else:
            message = {
                "orderId": self.dice.choice([f"order-{len(self._orders)}", str(1_000_000 + len(self._orders))]),
                "userId": self.dice.choice(PEOPLE),
                "symbol": self.dice.choice(["btc", "sol", "eth"]),
                "type": self.dice.choice(["buy", "sell"]),
                "quantity": self.dice.randrange(1, 5),
                "leverage": self.dice.randrange(1, 100),
                "stopLoss": self.dice.choice([None, 145.5, -1e-7]),
                "openPrice": self.dice.uniform(-1e6, 1e6),
                "openTime": "2026-05-05T00:00:00.000Z",
                "closeTime": self.dice.choice(CLOSE_TIMES),
                "profitLoss": self.dice.uniform(-1e-6, 1e12),
            }
            self._orders.append(message)
        content = {name: value for name, value in message.items() if name not in ("orderId", "userId")}
        values = {"order_id": message["orderId"], "user_id": message["userId"], "content": content}
        return Command(
            "order", values, self._written({"function": "createCloseOrder", "message": self._spelled(message)})
        )

    def _refused(self) -> Command:
        fields, code = self.dice.choice(REFUSED)
        return Command("refused", {"code": code}, fields)

    def _id(self, text: str) -> str | int:
        return int(text) if text.isdecimal() and self.dice.random() < 0.5 else text

    def _spelled(self, message: dict[str, Any]) -> dict[str, Any]:
        """The same order, written otherwise."""
        written = {name: value for name, value in message.items() if value is not None or self.dice.random() < 0.5}
        written["orderId"], written["userId"] = self._id(message["orderId"]), self._id(message["userId"])
        written["symbol"] = self.dice.choice([str.upper, str.lower])(message["symbol"])
        written["quantity"] = self.dice.choice(
            [message["quantity"], str(message["quantity"]), f"{message['quantity']}.0"]
        )
        second = int(message["closeTime"][17:19])
        written["closeTime"] = self.dice.choice(
            [message["closeTime"], 1_777_939_200_000 + second * 1000, f"2026-05-05T05:45:{second:02}.000+05:45"]
        )
        return {**written, "status": "closed", "nothing": {"of": "ours"}}

    def _written(self, command: dict[str, Any]) -> dict[str, bytes]:
        layout = self.dice.random()
        if layout < 0.4:
            return {"message": json.dumps(command).encode()}
        if layout < 0.6:
            text = json.dumps(command).encode()
            middle = self.dice.randrange(len(text))
            return {"first": text[:middle], "second": text[middle:]}
        return {
            name: (value if isinstance(value, str) else json.dumps(value)).encode()
            for name, value in command.items()
            if value is not None and not (name in ("requestId", "correlationId") and isinstance(value, dict))
        }
