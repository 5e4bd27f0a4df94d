"""Makes up commands as the trading engine writes them, for trying out and measuring the service."""

import uuid
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from dbstorage.wire.entry import CREATE_CLOSE_ORDER, CREATE_USER, GET_CLOSE_ORDERS

Command = dict[str, Any]

#: Symbol, share of the orders, price at the beginning.
MARKETS = (("btc", 0.5, 64_000.0), ("eth", 0.25, 3_100.0), ("sol", 0.25, 148.0))
QUANTITIES = (0.001, 0.01, 0.05, 0.1, 0.5, 1, 2, 10)
LEVERAGES = (1, 2, 5, 10, 20, 50, 100)
STIPPAGES = (None, None, 0.5, 1)
BEGINNING = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
#: Milliseconds between two commands, on average.
PACE = 400
#: An order that comes twice is one of so many before it.
MEMORY = 200

_USER, _USER_AGAIN, _ORDER, _ORDER_AGAIN, _QUESTION = range(5)


def engine_commands(
    seed: int, users: int, orders: int, *, users_again: int = 0, orders_again: int = 0, questions: int = 0
) -> Iterator[Command]:
    """Yield the commands of one platform's day, always the same ones for the same arguments.

    `users` people sign up and close `orders` orders between them; `users_again` times one of them signs up again, half
    of the time with a new e-mail address; `orders_again` times an order comes a second time; `questions` times somebody
    asks for their history, each with a requestId of its own. Nobody closes an order before signing up. Without
    users there is nothing, and without orders none comes twice.
    """
    if users < 1:
        return
    plan = [_USER] * (users - 1) + [_USER_AGAIN] * users_again + [_QUESTION] * questions
    if orders:
        plan += [_ORDER] * (orders - 1) + [_ORDER_AGAIN] * orders_again
    engine = _Engine(seed)
    engine.random.shuffle(plan)
    for step in [_USER, *([_ORDER] if orders else []), *plan]:
        yield engine.command(step)


class _Engine:
    """The engine's state: who has signed up, what the markets cost, what time it is."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self._seed = seed
        self._now = BEGINNING
        self._users: list[str] = []
        self._prices = {symbol: price for symbol, _, price in MARKETS}
        self._recent: deque[Command] = deque(maxlen=MEMORY)

    def command(self, step: int) -> Command:
        self._now += timedelta(milliseconds=self.random.expovariate(1 / PACE))
        if step == _USER:
            self._users.append(self._new_id())
            return self._create_user(len(self._users) - 1, 0)
        if step == _USER_AGAIN:
            number = self._somebody()
            return self._create_user(number, self.random.choice((0, self.random.randrange(1, 1_000_000))))
        if step == _ORDER:
            self._recent.append(self._close_order())
            return self._recent[-1]
        if step == _ORDER_AGAIN:
            return self.random.choice(self._recent)
        return {
            "function": GET_CLOSE_ORDERS,
            "userId": self._users[self._somebody()],
            "requestId": self._new_id(),
        }

    def _create_user(self, number: int, address: int) -> Command:
        person = {
            "function": CREATE_USER,
            "userId": self._users[number],
            "userEmail": f"trader{self._seed}.{number}{f'.{address}' if address else ''}@example.com",
            "requestId": self._new_id(),
        }
        return {"function": CREATE_USER, "message": person, "requestId": self._new_id()}

    def _close_order(self) -> Command:
        random = self.random
        [(symbol, _, _)] = random.choices(MARKETS, [share for _, share, _ in MARKETS])
        open_price = self._prices[symbol]
        close_price = open_price * (1 + random.gauss(0, 0.004))
        self._prices[symbol] = round(open_price * (1 + random.gauss(0, 0.0005)), 2)
        side = random.choice(("buy", "sell"))
        quantity = random.choice(QUANTITIES) if random.random() < 0.97 else random.random()
        gain = (close_price - open_price) * (quantity if side == "buy" else -quantity)
        reason = random.choice(("manual", "take_profit" if gain > 0 else "stop_loss"))
        order = {
            "orderId": self._new_id(),
            "userId": self._users[self._somebody()],
            "symbol": symbol,
            "type": side,
            "quantity": quantity,
            "leverage": random.choice(LEVERAGES),
            "takeProfit": self._limit(open_price, side == "buy"),
            "stopLoss": self._limit(open_price, side == "sell"),
            "stippage": random.choice(STIPPAGES),
            "openPrice": _number(open_price),
            "closePrice": close_price,
            "openTime": _time(self._now - timedelta(seconds=random.expovariate(1 / 1800))),
            "closeTime": _time(self._now),
            "profitLoss": gain,
            "closeReason": reason,
        }
        return {"function": CREATE_CLOSE_ORDER, "message": order, "requestId": self._new_id()}

    def _limit(self, price: float, above: bool) -> float | None:
        return _number(round(price * (1.02 if above else 0.98), 2)) if self.random.random() < 0.3 else None

    def _somebody(self) -> int:
        # Who came first trades most.
        return int(len(self._users) * self.random.random() ** 2)

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))


def _number(value: float) -> float:
    # JavaScript writes a whole number without a point.
    return int(value) if value.is_integer() else value


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
