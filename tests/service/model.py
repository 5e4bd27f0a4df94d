"""A slow and obvious model of the commands (docs/contract.md), one after the other; the service is compared with it.

The model does not know when the service retries an order that waits for its user, and the result may depend on that
moment. So such an order has several possible owners, and several possible contents if its id came twice.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class Person:
    """A row of "User"; the same person whatever becomes of id and e-mail address."""

    user_id: str
    email: str


@dataclass(eq=False)
class Order:
    """An order that came at least once; `waited` when it may be stored at another time than it came."""

    order_id: str
    contents: list[dict[str, Any]]
    owners: list[Person] = field(default_factory=list)
    awaited: set[str] = field(default_factory=set)
    waited: bool = False


class Model:
    """What is stored after the commands so far."""

    def __init__(self) -> None:
        self.people: list[Person] = []
        self.orders: dict[str, Order] = {}

    def person(self, user_id: str) -> Person | None:
        """Who has this id."""
        return next((person for person in self.people if person.user_id == user_id), None)

    def create_user(self, user_id: str, email: str) -> str:
        """createUser; what became of it."""
        by_email = next((person for person in self.people if person.email == email), None)
        by_id = self.person(user_id)
        if by_email is not None and by_id is not None and by_email is not by_id:
            return "user_conflict"
        person = by_email or by_id
        if person is None:
            person = Person(user_id, email)
            self.people.append(person)
        person.user_id, person.email = user_id, email
        for order in self.orders.values():
            if user_id in order.awaited and person not in order.owners:
                order.owners.append(person)
        return "done"

    def close_order(self, order_id: str, user_id: str, content: dict[str, Any]) -> str:
        """createCloseOrder; what became of it."""
        order, owner = self.orders.get(order_id), self.person(user_id)
        if order is not None and not order.waited:
            return "duplicate" if content in order.contents else "order_conflict"
        if order is None:
            order = self.orders[order_id] = Order(order_id, [content], waited=owner is None)
        elif content not in order.contents:
            order.contents.append(content)
        if owner is None:
            order.awaited.add(user_id)
            return "waiting"
        if owner not in order.owners:
            order.owners.append(owner)
        return "waiting" if order.waited else "stored"

    def history(self, user_id: str) -> tuple[list[str], set[str]]:
        """The orderIds that this user has for sure, newest first, and those that may stand between them."""
        person = self.person(user_id)
        certain = [order for order in self.orders.values() if not order.waited and order.owners == [person]]
        # Of orders that closed at the same time the one that came last stands first.
        newest_first = sorted(reversed(certain), key=lambda order: order.contents[0]["closeTime"], reverse=True)
        possible = {order.order_id for order in self.orders.values() if order.waited and person in order.owners}
        return [order.order_id for order in newest_first], possible
