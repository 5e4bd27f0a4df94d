"""Storing closed orders: one statement for a batch, a second one for what it did not write."""

from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache

from sqlalchemy import Connection

from dbstorage.commands.orders import CloseOrder
from dbstorage.database.shape import TableShape
from dbstorage.storage.array_text import number_array, text_array

#: Column of "Orders" -> its SQL type, in the order of CloseOrder's fields.
COLUMNS = {
    "orderId": "text",
    "userId": "text",
    "symbol": "text",
    "type": "text",
    "quantity": "double precision",
    "leverage": "integer",
    "takeProfit": "double precision",
    "stopLoss": "double precision",
    "stippage": "double precision",
    "openPrice": "double precision",
    "closePrice": "double precision",
    "openTime": "timestamp(3)",
    "closeTime": "timestamp(3)",
    "profitLoss": "double precision",
    "closeReason": "text",
}
_NUMBERS = ("double precision", "integer")
#: Not compared when an orderId comes again. userId: createUser may have moved it in between. closeReason: the
#: service being replaced did not fill it.
NOT_CONTENT = ("orderId", "userId", "closeReason")
_CONTENT = tuple(name for name in COLUMNS if name not in NOT_CONTENT)
_COMPARED = ("orderId", "userId", *_CONTENT)
#: How often an order that met its user's arrival halfway is tried again within one transaction.
MAXIMUM_PASSES = 3


class Verdict(StrEnum):
    """What the database says of one order."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    USER_UNKNOWN = "user_unknown"


def store_orders(connection: Connection, shape: TableShape, orders: Sequence[CloseOrder]) -> list[Verdict]:
    """Write the orders that are new and whose user exists; say for each, in order, what became of it."""
    verdicts: list[Verdict | None] = [None] * len(orders)
    undecided = list(range(len(orders)))
    for _ in range(MAXIMUM_PASSES):
        # Of several orders with one id the first, so that the others draw no number from the table's sequence.
        first_of = {orders[index].order_id: index for index in reversed(undecided)}
        firsts = sorted(first_of.values())
        new = _insert(connection, shape, [orders[index] for index in firsts])
        for index in firsts:
            if orders[index].order_id in new:
                verdicts[index] = Verdict.STORED
        # One without a user may stand before one of the same id that has a user, and is compared with that.
        undecided = [
            index
            for index, verdict in enumerate(verdicts)
            if verdict is None or (verdict is Verdict.USER_UNKNOWN and orders[index].order_id in new)
        ]
        if not undecided:
            break
        compared = compare_orders(connection, shape, [orders[index] for index in undecided])
        for index, (exists, same, user_exists) in zip(undecided, compared, strict=True):
            if exists:
                verdicts[index] = Verdict.DUPLICATE if same else Verdict.CONFLICT
            elif not user_exists:
                verdicts[index] = Verdict.USER_UNKNOWN
        undecided = [index for index in undecided if verdicts[index] is None]
        if not undecided:
            break
    return [verdict or Verdict.USER_UNKNOWN for verdict in verdicts]


def _insert(connection: Connection, shape: TableShape, orders: Sequence[CloseOrder]) -> set[str]:
    """The orderIds that were written."""
    arrays = _as_arrays(_insert_columns(shape), orders)
    return set(connection.exec_driver_sql(insert_statement(shape), arrays).scalars())


def compare_orders(
    connection: Connection, shape: TableShape, orders: Sequence[CloseOrder]
) -> list[tuple[bool, bool, bool]]:
    """For each order: whether its id is stored, whether with the same content, and whether its user exists."""
    arrays = _as_arrays(_COMPARED, orders)
    return [(row[0], row[1], row[2]) for row in connection.exec_driver_sql(compare_statement(shape), arrays)]


def _as_arrays(columns: Sequence[str], orders: Sequence[CloseOrder]) -> tuple[str, ...]:
    """The parameters for `_input`."""
    values = dict(zip(COLUMNS, zip(*orders, strict=True), strict=True))
    return tuple((number_array if COLUMNS[name] in _NUMBERS else text_array)(values[name]) for name in columns)


def _input(columns: Sequence[str]) -> str:
    """SQL for the orders of the statement's parameters, an array for each column, as rows with their position `n`."""
    arrays = ", ".join(f"%s::{COLUMNS[name]}[]" for name in columns)
    names = ", ".join(f'"{name}"' for name in columns)
    return f"unnest({arrays}) WITH ORDINALITY AS input({names}, n)"


def _value(shape: TableShape, name: str) -> str:
    value = f'input."{name}"'
    if name == "closeReason" and shape.close_reason_required:
        value = f"coalesce({value}, '')"
    cast = {"symbol": shape.symbol_type, "type": shape.side_type, "closeReason": shape.close_reason_type}.get(name)
    return f"{value}::{cast}" if cast else value


def _insert_columns(shape: TableShape) -> list[str]:
    return [name for name in COLUMNS if name != "closeReason" or shape.has_close_reason]


@lru_cache
def insert_statement(shape: TableShape) -> str:
    """The statement that writes a batch; rows get their "id" in stream order."""
    columns = _insert_columns(shape)
    names = ", ".join(f'"{name}"' for name in columns)
    values = ", ".join(_value(shape, name) for name in columns)
    return (
        f'INSERT INTO "Orders" ({names}) SELECT {values} FROM {_input(columns)} '
        'JOIN "User" AS person ON person."userID" = input."userId" '
        # What is there already draws no number from the sequence of "id".
        'WHERE NOT EXISTS (SELECT FROM "Orders" AS stored WHERE stored."orderId" = input."orderId") '
        'ORDER BY input.n ON CONFLICT ("orderId") DO NOTHING RETURNING "orderId"'
    )


@lru_cache
def compare_statement(shape: TableShape) -> str:
    """The statement that says why orders were not written."""
    stored = ", ".join(f'stored."{name}"' for name in _CONTENT)
    given = ", ".join(_value(shape, name) for name in _CONTENT)
    return (
        f'SELECT stored."orderId" IS NOT NULL, ({stored}) IS NOT DISTINCT FROM ({given}), '
        'EXISTS (SELECT FROM "User" AS person WHERE person."userID" = input."userId") '
        f"FROM {_input(_COMPARED)} "
        'LEFT JOIN "Orders" AS stored ON stored."orderId" = input."orderId" ORDER BY input.n'
    )
