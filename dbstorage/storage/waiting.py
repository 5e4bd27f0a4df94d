"""Stores the orders that wait for a user, in the transaction of the createUser that they waited for.

So they are stored in stream order, and belong to the person who came, even if somebody else has that userID later.
"""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dbstorage.commands.orders import CloseOrder
from dbstorage.database.shape import TableShape
from dbstorage.database.sqlstate import ErrorClass, classify
from dbstorage.errors import RejectedEntry
from dbstorage.storage.failures import keep, retried
from dbstorage.storage.order_outcomes import order_outcome
from dbstorage.storage.orders import OrderResult, store_orders
from dbstorage.storage.outcome import Outcome, Retried, Status
from dbstorage.storage.people import People
from dbstorage.storage.retries import bind_waiting_orders, waiting_orders
from dbstorage.storage.service import Service

#: Orders that one transaction stores; the sweep stores the rest at once.
MOST_AT_ONCE = 1_000


class OwnedOrder(NamedTuple):
    """An order under the userID that its owner has at the end of the batch.

    `turn` is the place in the batch at which it can be stored: its own, or that of the createUser it waits for.
    """

    order: CloseOrder
    turn: int


class Released(NamedTuple):
    """What became of the orders that waited, and, by place, of the orders of the batch that share an id with them."""

    retried: list[Retried]
    rivals: dict[int, OrderResult]


def store_waiting_orders(
    connection: Connection, shape: TableShape, service: Service, people: People, batch: Mapping[int, OwnedOrder]
) -> Released:
    """Store the orders that waited for people who came with this batch, and those of the `batch` that share their ids.

    Of one id the first in its turn is stored. Orders that the database refuses, or that are too many for one
    transaction, are left to the sweep and still belong to these people.
    """
    arrived, arrived_at = people.arrived, people.arrived_at
    # No question is among them, so the limit of a history does not matter.
    works, is_all = waiting_orders(connection, service, arrived.keys(), MOST_AT_ONCE, history_limit=1)
    if not works:
        return Released([], {})
    orders: dict[int, OwnedOrder] = {}
    for number, work in enumerate(works):
        if isinstance(work.command, CloseOrder):
            user_id = work.command.user_id
            order = work.command._replace(user_id=arrived.get(user_id, user_id))
            orders[number] = OwnedOrder(order, arrived_at.get(user_id, 0))
    ids = {owned.order.order_id for owned in orders.values()}
    rivals = {place: owned for place, owned in batch.items() if owned.order.order_id in ids}
    together = [*orders.values(), *rivals.values()]
    try:
        with connection.begin_nested():
            results = store_orders(
                connection, shape, [owned.order for owned in together], [owned.turn for owned in together]
            )
            decided = [
                (works[number], order_outcome(owned.order, verdict))
                for (number, owned), verdict in zip(orders.items(), results[: len(orders)], strict=True)
            ]
            decided += [
                (work, Outcome(Status.FAILED, work.command.code, str(work.command)))
                for work in works
                if isinstance(work.command, RejectedEntry)
            ]
            kept = keep(connection, service, decided, user_wait=0)
    except DBAPIError as error:
        if classify(error) in (ErrorClass.OUTAGE, ErrorClass.AGAIN):
            raise
        bind_waiting_orders(connection, service, arrived)
        return Released([], {})
    if not is_all:
        bind_waiting_orders(connection, service, arrived)
    told = [retried(work, outcome) for (work, _), outcome in zip(decided, kept, strict=True)]
    return Released(told, dict(zip(rivals, results[len(orders) :], strict=True)))
