"""Failed tasks for tests, written to the table as they are."""

import itertools
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, insert

from dbstorage.database.tables import failed_tasks
from dbstorage.settings import Scope, Settings

SCOPE = Scope(Settings.command_stream, Settings.consumer_group)
_numbers = itertools.count(1)


def record(**fields: Any) -> dict[str, Any]:
    """An order that failed, with these fields instead of the usual ones."""
    number = next(_numbers)
    order_id = fields.get("order_id", f"order-{number}")
    return {
        "stream": SCOPE.stream,
        "consumer_group": SCOPE.group,
        "life": 1,
        "task_id": f"createCloseOrder:{order_id}",
        "function": "createCloseOrder",
        "entry_id": f"1746403514283-{number}",
        "layout": "envelope",
        "payload": b'{"function":"createCloseOrder","message":{"orderId":"%s"}}' % str(order_id).encode(),
        "user_id": "user-1",
        "order_id": order_id,
        "code": "invalid_symbol",
        "message": "symbol is 'doge': expected btc, eth or sol.",
        "state": "failed",
        **fields,
    }


def add(connection: Connection, *records: dict[str, Any]) -> list[int]:
    """Write the records and commit; their ids."""
    statement = insert(failed_tasks).returning(failed_tasks.c.id)
    ids = [connection.scalars(statement, row).one() for row in records]
    connection.commit()
    return ids


def add_many(connection: Connection, records: Iterable[dict[str, Any]]) -> None:
    """Write many records at once and commit."""
    connection.execute(insert(failed_tasks), list(records))
    connection.commit()
