"""The shape in which the tables are found: what the statements of DBStorage have to adapt to."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, text

from dbstorage.database.catalog import Column, FoundTable, read_tables
from dbstorage.database.tables import OWN_SCHEMA
from dbstorage.errors import DatabaseNotReadyError

#: The revision of `migrations/` this version of DBStorage needs; a later one serves too.
NEEDED_REVISION = "0001"

TEXT = ("text", "character varying")
DOUBLE = ("double precision",)
# Fewer digits would round the milliseconds away, and a redelivered order would no longer equal the stored one.
TIMESTAMP = tuple(f"timestamp{precision} without time zone" for precision in ("(3)", "(4)", "(5)", "(6)", ""))
WHOLE = ("integer", "bigint")


class Need(NamedTuple):
    """What a column that we write must be like."""

    types: tuple[str, ...]
    may_be_enum: bool = False
    takes_null: bool = False


USER_NEEDS = {"userID": Need(TEXT), "email": Need(TEXT)}
ORDER_NEEDS = {
    "orderId": Need(TEXT),
    "userId": Need(TEXT),
    "symbol": Need(TEXT, may_be_enum=True),
    "type": Need(TEXT, may_be_enum=True),
    "quantity": Need(DOUBLE),
    "leverage": Need(WHOLE),
    "takeProfit": Need(DOUBLE, takes_null=True),
    "stopLoss": Need(DOUBLE, takes_null=True),
    "stippage": Need(DOUBLE, takes_null=True),
    "openPrice": Need(DOUBLE),
    "closePrice": Need(DOUBLE),
    "openTime": Need(TIMESTAMP),
    "closeTime": Need(TIMESTAMP),
    "profitLoss": Need(DOUBLE),
}
CLOSE_REASON = Need(TEXT, may_be_enum=True)


@dataclass(frozen=True)
class TableShape:
    """Where the platform's tables differ from database to database.

    The types are None where plain text is stored, else the enum's name as SQL writes it, to cast to.
    """

    #: The schema that holds "User" and "Orders", unquoted.
    schema: str
    #: "Orders" has a growing number "id"; without it "orderId" is the primary key.
    has_order_row_id: bool
    #: "Orders" keeps why an order was closed.
    has_close_reason: bool
    #: "closeReason" takes no NULL: an order without one is stored with an empty text.
    close_reason_required: bool
    #: "User" has a balance.
    has_balance: bool
    symbol_type: str | None = None
    side_type: str | None = None
    close_reason_type: str | None = None


_STATE = text(
    """
    SELECT current_database() AS database, current_schema() AS schema, current_setting('search_path') AS search_path,
           to_regclass('dbstorage.alembic_version') IS NOT NULL AS has_version
    """
)


def inspect_shape(connection: Connection) -> TableShape:
    """Return the shape of the tables that the search path leads to.

    Raises DatabaseNotReadyError with one sentence when the schema does not exist, the migration did not run or a table
    was changed since so that we cannot write to it.
    """
    state = require_schema(connection)
    revision = None
    if state.has_version:
        revision = connection.scalar(text("SELECT version_num FROM dbstorage.alembic_version"))
    if revision is None or revision < NEEDED_REVISION:
        raise DatabaseNotReadyError(
            f'The database "{state.database}" is not migrated for this version of DBStorage: run alembic upgrade head.'
        )
    tables = read_tables(connection)
    missing = [name for name in ("User", "Orders") if name not in tables]
    if missing:
        raise DatabaseNotReadyError(
            f'The database "{state.database}" has no table "{missing[0]}" in schema "{state.schema}", '
            "although it was migrated: check the schema named in DATABASE_URL."
        )
    refusal = refuse_columns(tables)
    if refusal:
        raise DatabaseNotReadyError(refusal)
    return shape_of(tables["User"], tables["Orders"])


def require_schema(connection: Connection) -> Row[Any]:
    """Return what `_STATE` asks; raises DatabaseNotReadyError where the search path leads to no schema or our own."""
    state = connection.execute(_STATE).one()
    if state.schema is None:
        raise DatabaseNotReadyError(
            f'The schema {state.search_path} does not exist in the database "{state.database}" '
            "or may not be used by this user: create it, or correct schema= in DATABASE_URL."
        )
    if state.schema == OWN_SCHEMA:
        raise DatabaseNotReadyError(
            f'The schema "{OWN_SCHEMA}" is kept for our own tables: name another one with schema= in DATABASE_URL.'
        )
    return state


def refuse_columns(tables: dict[str, FoundTable]) -> str | None:
    """Return one sentence that names everything about the columns that keeps us from writing, or None."""
    for name, needs in (("User", USER_NEEDS), ("Orders", ORDER_NEEDS)):
        table = tables.get(name)
        if table is None:
            continue
        if not table.is_table:
            return f"{table.title} is not an ordinary table, so DBStorage cannot write to it."
        faults = [fault for column, need in needs.items() if (fault := _fault(table.columns.get(column), column, need))]
        close_reason = table.columns.get("closeReason")
        if name == "Orders" and close_reason is not None:
            needs = {**needs, "closeReason": CLOSE_REASON}
            faults += filter(None, [_fault(close_reason, "closeReason", CLOSE_REASON)])
        faults += [
            f'the column "{column.name}" needs a value that DBStorage does not know'
            for column in table.columns.values()
            if column.name not in needs and column.required and not column.has_default
        ]
        if faults:
            return f"DBStorage cannot write to {table.title}: {'; '.join(faults)}."
    return None


def shape_of(users: FoundTable, orders: FoundTable) -> TableShape:
    """Return the shape of two tables whose columns `refuse_columns` did not refuse."""
    row_id = orders.columns.get("id")
    close_reason = orders.columns.get("closeReason")
    return TableShape(
        schema=orders.schema,
        has_order_row_id=row_id is not None and row_id.type in WHOLE,
        has_close_reason=close_reason is not None,
        close_reason_required=close_reason is not None and close_reason.required,
        has_balance="balance" in users.columns,
        symbol_type=_enum_type(orders.columns["symbol"]),
        side_type=_enum_type(orders.columns["type"]),
        close_reason_type=_enum_type(close_reason),
    )


def _fault(column: Column | None, name: str, need: Need) -> str | None:
    if column is None:
        return f'the column "{name}" is missing'
    if column.generated:
        return f'the column "{name}" is computed by PostgreSQL'
    if column.is_enum and need.may_be_enum:
        return None
    base = column.type.partition("(")[0] if need.types == TEXT else column.type
    if base not in need.types:
        return f'the column "{name}" is of type {column.type} instead of {need.types[0]}'
    if need.takes_null and column.required:
        return f'the column "{name}" takes no NULL'
    return None


def _enum_type(column: Column | None) -> str | None:
    return column.type if column is not None and column.is_enum else None
