"""The statements that contenders write orders with: a batch in two ways, and a single row."""

import os
from collections.abc import Sequence
from typing import Any

import psycopg2

from bench.traffic import COLUMNS
from dbstorage.database.shape import TableShape
from dbstorage.storage.array_text import number_array, text_array
from dbstorage.storage.orders import insert_statement

TYPES = {
    "quantity": "double precision",
    "leverage": "integer",
    "takeProfit": "double precision",
    "stopLoss": "double precision",
    "stippage": "double precision",
    "openPrice": "double precision",
    "closePrice": "double precision",
    "openTime": "timestamp",
    "closeTime": "timestamp",
    "profitLoss": "double precision",
}
_NAMES = ", ".join(f'"{column}"' for column in COLUMNS)
_VALUES = ", ".join(f'input."{column}"' for column in COLUMNS)
_TYPED = ", ".join(f'"{column}" {TYPES.get(column, "text")}' for column in COLUMNS)

_ARRAYS = ", ".join(f"%s::{TYPES.get(column, 'text')}[]" for column in COLUMNS)

#: Writes the orders whose user exists and whose orderId is new; its parameter is their JSON array.
INSERT_BATCH = (
    f'INSERT INTO "Orders" ({_NAMES}) SELECT {_VALUES} FROM jsonb_to_recordset(%s::jsonb) AS input({_TYPED}) '
    'JOIN "User" AS person ON person."userID" = input."userId" ON CONFLICT ("orderId") DO NOTHING'
)
#: The same, faster for PostgreSQL: its parameters are the columns as arrays, see `as_arrays`.
INSERT_ARRAYS = (
    f'INSERT INTO "Orders" ({_NAMES}) SELECT {_VALUES} '
    f"FROM unnest({_ARRAYS}) AS input({_NAMES}) "
    'JOIN "User" AS person ON person."userID" = input."userId" ON CONFLICT ("orderId") DO NOTHING'
)
#: What the service runs on tables that it made, with the same parameters; it gives a duplicate no number.
INSERT_AS_SERVICE = insert_statement(TableShape("public", has_order_row_id=True, has_balance=True))
#: The same for one order, given as a mapping.
INSERT_ROW = (
    f'INSERT INTO "Orders" ({_NAMES}) SELECT {", ".join(f"%({column})s" for column in COLUMNS)} '
    'FROM "User" AS person WHERE person."userID" = %(userId)s ON CONFLICT ("orderId") DO NOTHING'
)
SELECT_ORDER = 'SELECT FROM "Orders" WHERE "orderId" = %(orderId)s'


def as_arrays(orders: Sequence[dict[str, Any]]) -> list[str]:
    """The parameters of INSERT_ARRAYS."""
    return [
        (number_array if TYPES.get(column) in ("double precision", "integer") else text_array)(
            [order[column] for order in orders]
        )
        for column in COLUMNS
    ]


def connect() -> Any:
    """A connection to the database of the environment; every statement is a transaction of its own."""
    connection = psycopg2.connect(os.environ["DATABASE_URL"])
    connection.autocommit = True
    return connection
