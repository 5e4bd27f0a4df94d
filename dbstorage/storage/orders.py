"""Storing closed orders: one statement for a batch, a second one for what it did not write."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection

from dbstorage.commands.orders import CloseOrder
from dbstorage.database.shape import CLOSE_REASON, CloseReasonColumn, TableShape
from dbstorage.order_columns import ORDER_COLUMNS, ColumnKind, of_kind
from dbstorage.storage.array_text import number_array, text_array
from dbstorage.storage.users import ConcurrentChangeError

_TYPES = {
    ColumnKind.ID: "text",
    ColumnKind.WORD: "text",
    ColumnKind.TIME: "timestamp(3)",
    ColumnKind.AMOUNT: "double precision",
    ColumnKind.LIMIT: "double precision",
    ColumnKind.LEVERAGE: "integer",
    ColumnKind.REMARK: "text",
}
#: Column of "Orders" -> its SQL type, in the order of CloseOrder's fields.
COLUMNS = {column.name: _TYPES[column.kind] for column in ORDER_COLUMNS}
_NUMBERS = frozenset(of_kind(ColumnKind.AMOUNT, ColumnKind.LIMIT, ColumnKind.LEVERAGE))
#: What is compared when an orderId comes again.
_CONTENT = tuple(column.name for column in ORDER_COLUMNS if column.is_content)
_COMPARED = ("orderId", "userId", *_CONTENT)
#: How often an order is tried again within one transaction because its user was created while the statement ran.
MAXIMUM_PASSES = 3


class OrderResult(StrEnum):
    """What the database says of one order."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    USER_UNKNOWN = "user_unknown"
    #: Its user is there and PostgreSQL refused nothing, and yet there is no row: a trigger or a rule kept it away.
    KEPT_AWAY = "kept_away"


class Inserted(NamedTuple):
    """What an insert did: orderIds that were written, and those whose user was there at that moment.

    The second is None where no trigger or rule could have kept a row away: then nobody needs it.
    """

    written: set[str]
    tried: set[str] | None


def store_orders(
    connection: Connection,
    shape: TableShape,
    orders: Sequence[CloseOrder],
    turns: Sequence[int] = (),
    inserted: Callable[[], None] = lambda: None,
) -> list[OrderResult]:
    """Write the orders that are new and whose user exists; say for each, in order, what became of it.

    Of several orders with one id the first whose user exists is written: the one with the smallest of the `turns`,
    which are their own order where none are given. `inserted` is called behind the first statement, before anything
    else is read. Raises ConcurrentChangeError where the shape does not explain what the tables do.
    """
    verdicts: list[OrderResult | None] = [None] * len(orders)
    undecided = list(range(len(orders)))
    for _ in range(MAXIMUM_PASSES):
        # Of several orders with one id the first, so that the others draw no number from the table's sequence.
        first_of = {orders[index].order_id: index for index in reversed(undecided)}
        if turns and len(first_of) < len(undecided):
            last_first = sorted(undecided, key=lambda index: (turns[index], index), reverse=True)
            first_of = {orders[index].order_id: index for index in last_first}
        firsts = sorted(first_of.values())
        new, tried = insert_orders(connection, shape, [orders[index] for index in firsts])
        inserted()
        if len(new) == len(orders):
            return [OrderResult.STORED] * len(orders)
        for index in firsts:
            if orders[index].order_id in new:
                verdicts[index] = OrderResult.STORED
        # One without a user may stand before one of the same id that has a user, and is compared with that.
        undecided = [
            index
            for index, verdict in enumerate(verdicts)
            if verdict is None or (verdict is OrderResult.USER_UNKNOWN and orders[index].order_id in new)
        ]
        if not undecided:
            break
        compared = compare_orders(connection, shape, [orders[index] for index in undecided])
        for index, (exists, same, user_exists) in zip(undecided, compared, strict=True):
            if exists:
                verdicts[index] = OrderResult.DUPLICATE if same else OrderResult.CONFLICT
            elif not user_exists:
                verdicts[index] = OrderResult.USER_UNKNOWN
            elif tried is not None and orders[index].order_id in tried:
                verdicts[index] = OrderResult.KEPT_AWAY
        undecided = [index for index in undecided if verdicts[index] is None]
        if not undecided:
            break
    if None in verdicts:
        raise ConcurrentChangeError(
            "An order was not written although its user is there: users come and go, or the tables have changed"
        )
    return [verdict or OrderResult.USER_UNKNOWN for verdict in verdicts]


def insert_orders(
    connection: Connection, shape: TableShape, orders: Sequence[CloseOrder], numbers: tuple[tuple[str, int], ...] = ()
) -> Inserted:
    """Write those of the orders that are new and whose user exists; `numbers` as in `insert_statement`."""
    arrays = _as_arrays(_insert_columns(shape), orders, shape)
    rows = connection.exec_driver_sql(insert_statement(shape, numbers), arrays)
    if not shape.may_keep_orders_away:
        # All at once: row by row costs twice as much.
        return Inserted({order_id for (order_id,) in rows.fetchall()}, None)
    found = rows.all()
    return Inserted({order_id for order_id, written in found if written}, {order_id for order_id, _ in found})


def compare_orders(
    connection: Connection, shape: TableShape, orders: Sequence[CloseOrder]
) -> list[tuple[bool, bool, bool]]:
    """For each order: whether its id is stored, whether with the same content, and whether its user exists."""
    arrays = _as_arrays(_COMPARED, orders, None)
    return [(row[0], row[1], row[2]) for row in connection.exec_driver_sql(compare_statement(shape), arrays)]


class Field(NamedTuple):
    """A column of a stored order and of one that came with the same id, as text.

    `same` is None for what is not compared when an order comes again.
    """

    name: str
    stored: str | None
    incoming: str | None
    same: bool | None


def compare_fields(connection: Connection, shape: TableShape, order: CloseOrder) -> list[Field] | None:
    """The order and the one that is stored under its id, column by column; None where none is stored."""
    names = _insert_columns(shape)
    row = connection.exec_driver_sql(fields_statement(shape), _as_arrays(names, [order], None)).one_or_none()
    return None if row is None else [Field(name, *row[3 * n : 3 * n + 3]) for n, name in enumerate(names)]


def _as_arrays(columns: Sequence[str], orders: Sequence[CloseOrder], shape: TableShape | None) -> tuple[str, ...]:
    """The parameters for `_input`; with a shape, as the columns take them."""
    values: dict[str, Sequence[Any]] = dict(zip(COLUMNS, zip(*orders, strict=True), strict=True))
    if shape is not None:
        for name, column in shape.enums.items():
            values[name] = [column.labels[value] for value in values[name]]
        if shape.close_reason is not None:
            values[CLOSE_REASON] = [fitting_reason(shape.close_reason, value) for value in values[CLOSE_REASON]]
    return tuple((number_array if name in _NUMBERS else text_array)(values[name]) for name in columns)


def fitting_reason(column: CloseReasonColumn, reason: str | None) -> str | None:
    """A close reason as the column takes it; None for the column's own default."""
    if not reason:
        return None
    if column.enum is not None:
        return column.enum.labels.get(reason.lower())
    return reason if column.length is None else reason[: column.length] or None


def _input(columns: Sequence[str]) -> str:
    """SQL for the orders of the statement's parameters, an array for each column, as rows with their position `n`."""
    arrays = ", ".join(f"%s::{COLUMNS[name]}[]" for name in columns)
    names = ", ".join(f'"{name}"' for name in columns)
    return f"unnest({arrays}) WITH ORDINALITY AS input({names}, n)"


def _value(shape: TableShape, name: str) -> str:
    value = f'input."{name}"'
    if name in shape.enums:
        return f"{value}::{shape.enums[name].type}"
    if name == CLOSE_REASON and shape.close_reason is not None:
        column = shape.close_reason
        return f"coalesce({value}::{column.type}, {column.otherwise})"
    return value


def _insert_columns(shape: TableShape) -> list[str]:
    return [name for name in COLUMNS if name != CLOSE_REASON or shape.close_reason is not None]


@lru_cache
def insert_statement(shape: TableShape, numbers: tuple[tuple[str, int], ...] = ()) -> str:
    """The statement that writes a batch; rows get their "id" in stream order.

    It returns the orderIds that were written; where rows may be kept away, those whose user is there, each with whether
    it was written. `numbers` are columns with a value that they are given instead of their sequence's.
    """
    columns = _insert_columns(shape)
    names = ", ".join(f'"{name}"' for name in [*(name for name, _ in numbers), *columns])
    values = ", ".join([*(str(number) for _, number in numbers), *(_value(shape, name) for name in columns)])
    orders = (
        f'{_input(columns)} JOIN "User" AS person ON person."userID" = input."userId" '
        # Orders that are stored already are left out here, so that they draw no number from the sequence of "id".
        'WHERE NOT EXISTS (SELECT FROM "Orders" AS stored WHERE stored."orderId" = input."orderId")'
    )
    insert = f'INSERT INTO "Orders" ({names}) {"OVERRIDING SYSTEM VALUE " if numbers else ""}SELECT {values} FROM '
    ending = ' ORDER BY input.n ON CONFLICT ("orderId") DO NOTHING RETURNING "orderId"'
    if not shape.may_keep_orders_away:
        return insert + orders + ending
    return (
        f"WITH input AS MATERIALIZED (SELECT input.* FROM {orders}), written AS ({insert}input{ending}) "
        'SELECT input."orderId", input."orderId" IN (SELECT "orderId" FROM written) FROM input'
    )


@lru_cache
def compare_statement(shape: TableShape) -> str:
    """The statement that says why orders were not written."""
    stored = ", ".join(_stored(shape, name) for name in _CONTENT)
    given = ", ".join(f'input."{name}"' for name in _CONTENT)
    return (
        f'SELECT stored."orderId" IS NOT NULL, ({stored}) IS NOT DISTINCT FROM ({given}), '
        'EXISTS (SELECT FROM "User" AS person WHERE person."userID" = input."userId") '
        f"FROM {_input(_COMPARED)} "
        'LEFT JOIN "Orders" AS stored ON stored."orderId" = input."orderId" ORDER BY input.n'
    )


@lru_cache
def fields_statement(shape: TableShape) -> str:
    """The statement that gives three values for each column: stored, incoming, and whether they are the same."""
    names = _insert_columns(shape)
    values = []
    for name in names:
        stored, given = _stored(shape, name), f'input."{name}"'
        same = f"{stored} IS NOT DISTINCT FROM {given}" if name in _CONTENT else "NULL"
        values += [f"{stored}::text", f"{given}::text", same]
    return (
        f'SELECT {", ".join(values)} FROM {_input(names)} JOIN "Orders" AS stored ON stored."orderId" = input."orderId"'
    )


def _stored(shape: TableShape, name: str) -> str:
    # Labels of an enum are compared by their meaning, not by their spelling.
    return f'lower(stored."{name}"::text)' if name in shape.enums else f'stored."{name}"'
