"""Stores the orders that wait for a user, in the transaction of the createUser that they waited for.

So they are stored in stream order, and belong to the person who came, even if somebody else has that userID later.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dbstorage.commands.orders import CloseOrder
from dbstorage.database.shape import TableShape
from dbstorage.database.sqlstate import ErrorClass, classify
from dbstorage.errors import RejectedEntry
from dbstorage.storage.failures import keep, retried
from dbstorage.storage.order_outcomes import order_outcome
from dbstorage.storage.orders import store_orders
from dbstorage.storage.outcome import Outcome, Retried, Status
from dbstorage.storage.retries import bind_waiting_orders, waiting_orders
from dbstorage.storage.service import Service
from dbstorage.storage.work import Work

#: Orders that one transaction stores; the sweep stores the rest at once.
MOST_AT_ONCE = 1_000


def store_waiting_orders(
    connection: Connection, shape: TableShape, service: Service, people: Mapping[str, str]
) -> list[Retried]:
    """Store the orders that waited for these userIDs; returns what became of them.

    `people` maps each to the userID that the person who came has by now. Orders that the database refuses, or that are
    too many for one transaction, are left to the sweep and still belong to these people.
    """
    # No question is among them, so the limit of a history does not matter.
    works = waiting_orders(connection, service, people.keys(), MOST_AT_ONCE + 1, history_limit=1)
    if not works:
        return []
    try:
        with connection.begin_nested():
            decided = _store(connection, shape, works[:MOST_AT_ONCE], people)
            kept = keep(connection, service, decided, user_wait=0)
    except DBAPIError as error:
        if classify(error) in (ErrorClass.OUTAGE, ErrorClass.AGAIN):
            raise
        bind_waiting_orders(connection, service, people)
        return []
    if len(works) > MOST_AT_ONCE:
        bind_waiting_orders(connection, service, people)
    return [retried(work, outcome) for (work, _), outcome in zip(decided, kept, strict=True)]


def _store(
    connection: Connection, shape: TableShape, works: Sequence[Work], people: Mapping[str, str]
) -> list[tuple[Work, Outcome]]:
    orders = [
        (work, work.command._replace(user_id=people.get(work.command.user_id, work.command.user_id)))
        for work in works
        if isinstance(work.command, CloseOrder)
    ]
    verdicts = store_orders(connection, shape, [order for _, order in orders])
    decided = [(work, order_outcome(order, verdict)) for (work, order), verdict in zip(orders, verdicts, strict=True)]
    decided += [
        (work, Outcome(Status.FAILED, work.command.code, str(work.command)))
        for work in works
        if isinstance(work.command, RejectedEntry)
    ]
    return decided
