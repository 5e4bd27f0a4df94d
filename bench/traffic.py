"""What is sent, and the rows that must come of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from dbstorage.traffic.generate import Command, engine_commands
from dbstorage.wire.entry import CREATE_CLOSE_ORDER


class User(NamedTuple):
    """A row of "User" that exists before the measurement."""

    user_id: str
    email: str


#: The columns of "Orders" that a contender writes, in the order of `ExpectedRow`.
COLUMNS = (
    "orderId",
    "userId",
    "symbol",
    "type",
    "quantity",
    "leverage",
    "takeProfit",
    "stopLoss",
    "stippage",
    "openPrice",
    "closePrice",
    "openTime",
    "closeTime",
    "profitLoss",
)
ExpectedRow = tuple[Any, ...]
SEED = 1
#: People between whom the orders of a run are shared.
USERS = 500


@dataclass(frozen=True)
class Traffic:
    """Closed orders as stream entries, all different, and the users they belong to."""

    users: list[User]
    entries: list[bytes]

    def expected_rows(self) -> Iterator[ExpectedRow]:
        """The row of every order, in stream order."""
        for entry in self.entries:
            order = orjson.loads(entry)["message"]
            order["openTime"] = _stored_time(order["openTime"])
            order["closeTime"] = _stored_time(order["closeTime"])
            yield tuple(order[column] for column in COLUMNS)


def closed_orders(entries: int, users: int) -> Traffic:
    """`entries` createCloseOrder commands of `users` people, always the same for the same arguments."""
    return next_orders(engine_commands(SEED, users, entries), entries)


def next_orders(commands: Iterator[Command], entries: int) -> Traffic:
    """The engine's next commands, as far as the last of `entries` orders; the users are those who sign up meanwhile."""
    people: list[User] = []
    orders: list[bytes] = []
    for command in commands:
        if command["function"] == CREATE_CLOSE_ORDER:
            orders.append(orjson.dumps(command))
            if len(orders) == entries:
                break
        else:
            message = command["message"]
            people.append(User(message["userId"], message["userEmail"]))
    return Traffic(people, orders)


def _stored_time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=None)
