"""The shape of the tables in this database: where they differ, the statements of DBStorage adapt to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, text

from dbstorage.database.catalog import Column, FoundTable, read_tables
from dbstorage.database.tables import OWN_SCHEMA
from dbstorage.errors import DatabaseNotReadyError
from dbstorage.order_columns import ORDER_COLUMNS, ColumnKind, of_kind

#: A setting of our own: where it is missing, the others are, too.
SESSION_MARK = "dbstorage.session"
#: The execution option of an engine that says which settings its sessions should have.
SESSION_SETTINGS = "session_settings"
#: The revision of `migrations/` this version of DBStorage needs; a later one serves too.
NEEDED_REVISION = "0001"

TEXT = ("text", "character varying")
#: A remark may be of further types.
REMARKS = (*TEXT, "character", "citext")
DOUBLE = ("double precision",)
# Fewer digits would round the milliseconds away, and a redelivered order would no longer equal the stored one.
TIMESTAMP = tuple(f"timestamp{precision} without time zone" for precision in ("(3)", "(4)", "(5)", "(6)", ""))
WHOLE = ("integer", "bigint")


class Need(NamedTuple):
    """What a column that we write must be like."""

    types: tuple[str, ...]
    takes_null: bool = False
    #: What an enum has to have labels for, in whatever case.
    values: tuple[str, ...] = ()


USER_NEEDS = {"userID": Need(TEXT), "email": Need(TEXT)}
#: A remark is written where it can be, and needed nowhere.
_NEEDS = {
    ColumnKind.ID: Need(TEXT),
    ColumnKind.WORD: Need(TEXT),
    ColumnKind.TIME: Need(TIMESTAMP),
    ColumnKind.AMOUNT: Need(DOUBLE),
    ColumnKind.LIMIT: Need(DOUBLE, takes_null=True),
    ColumnKind.LEVERAGE: Need(WHOLE),
}
ORDER_NEEDS = {
    column.name: _NEEDS[column.kind]._replace(values=column.words)
    for column in ORDER_COLUMNS
    if column.kind is not ColumnKind.REMARK
}
#: Columns that are filled with one of a few values of our own making.
MADE_COLUMNS = frozenset(of_kind(ColumnKind.WORD))
[CLOSE_REASON] = of_kind(ColumnKind.REMARK)
#: Where nothing else is known of why an order was closed.
MANUAL = "manual"


@dataclass(frozen=True)
class EnumColumn:
    """A column of an enum's type."""

    #: As SQL writes it, to cast to.
    type: str
    #: Lower-case text -> the label that means it.
    labels: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True)
class CloseReasonColumn:
    """What "Orders"."closeReason" takes."""

    #: As SQL writes it, to cast to.
    type: str = "text"
    enum: EnumColumn | None = None
    #: The most characters; None without a limit.
    length: int | None = None
    #: What stands there where an order tells nothing usable, as SQL.
    otherwise: str = "NULL"


@dataclass(frozen=True)
class TableShape:
    """Where the platform's tables differ from database to database."""

    #: The schema that holds "User" and "Orders", unquoted.
    schema: str
    #: "Orders" has a growing number "id"; without it "orderId" is the primary key.
    has_order_row_id: bool
    #: "User" has a balance.
    has_balance: bool
    #: The columns of "Orders" that are enums and filled with values of our own making; the others take plain text.
    enums: Mapping[str, EnumColumn] = field(default_factory=dict, hash=False)
    #: "Orders" keeps why an order was closed.
    close_reason: CloseReasonColumn | None = None
    #: Something may keep an order's, or a user's, row away without an error.
    may_keep_orders_away: bool = False


def without_remark(shape: TableShape) -> TableShape:
    """The same, where "closeReason" takes nothing that an order says."""
    column = shape.close_reason
    return shape if column is None else replace(shape, close_reason=replace(column, enum=None, length=0))


def with_null_for_remark(shape: TableShape) -> TableShape:
    """The same, where "closeReason" takes nothing but NULL."""
    column = shape.close_reason
    return shape if column is None else replace(shape, close_reason=CloseReasonColumn(column.type, length=0))


_STATE = text(
    """
    SELECT current_database() AS database, current_schema() AS schema, current_setting('search_path') AS search_path,
           to_regclass('dbstorage.alembic_version') IS NOT NULL AS has_version,
           current_setting('dbstorage.session', true) AS mark
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
            f'The database "{state.database}" is not migrated for this version of DBStorage: run dbstorage migrate.'
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
    expected = connection.get_execution_options().get(SESSION_SETTINGS, {})
    if expected.get(SESSION_MARK, state.mark) != state.mark:
        raise DatabaseNotReadyError(_SETTINGS_LOST.format(state.search_path))
    if state.schema is None:
        raise DatabaseNotReadyError(
            f'The schema {state.search_path} does not exist in the database "{state.database}" '
            "or may not be used by this user: create it, or correct schema= in DATABASE_URL."
        )
    if state.schema == OWN_SCHEMA:
        raise DatabaseNotReadyError(
            f'The schema "{OWN_SCHEMA}" is kept for our own tables: name another one with schema= in DATABASE_URL.'
        )
    if expected.get("search_path", state.search_path) != state.search_path:
        raise DatabaseNotReadyError(_SETTINGS_LOST.format(state.search_path))
    return state


_SETTINGS_LOST = (
    "The settings of our session do not reach PostgreSQL, its search path is {}: behind a pooler such as PgBouncer, "
    "DATABASE_URL needs the parameter pgbouncer=true."
)


def wrong_encoding(connection: Connection) -> str | None:
    """Return a sentence where the database cannot hold every text."""
    encoding = connection.scalar(text("SHOW server_encoding"))
    if encoding == "UTF8":
        return None
    return (
        f"The database's encoding is {encoding}: commands with a character that it lacks fail. Better move to a "
        "database with the encoding UTF8 (pg_dump, CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, pg_restore)."
    )


def refuse_columns(tables: dict[str, FoundTable]) -> str | None:
    """Return one sentence that names everything about the tables that keeps us from writing, or None."""
    for name, needs in (("User", USER_NEEDS), ("Orders", ORDER_NEEDS)):
        table = tables.get(name)
        if table is None:
            continue
        if table.is_partitioned:
            key = "orderId" if name == "Orders" else "userID"
            return (
                f'{table.title} is partitioned, so PostgreSQL cannot keep each "{key}" to one row: DBStorage needs an '
                "ordinary table."
            )
        if not table.is_table:
            return f"{table.title} is not an ordinary table, so DBStorage cannot write to it."
        if table.hides_rows:
            return (
                f"Row security is on for {table.title} and hides rows from the role in DATABASE_URL: give the role "
                "policies that let it see, insert and update every row, or ALTER ROLE … BYPASSRLS."
            )
        faults = [fault for column, need in needs.items() if (fault := _fault(table.columns.get(column), column, need))]
        written = {*needs, *([CLOSE_REASON] if name == "Orders" and close_reason_of(table) is not None else [])}
        faults += [
            f'the column "{column.name}" needs a value that DBStorage does not know'
            for column in table.columns.values()
            if column.name not in written and column.required and not column.has_default
        ]
        if faults:
            return f"DBStorage cannot write to {table.title}: {'; '.join(faults)}."
    return None


def shape_of(users: FoundTable, orders: FoundTable) -> TableShape:
    """Return the shape of two tables whose columns `refuse_columns` did not refuse."""
    row_id = orders.columns.get("id")
    return TableShape(
        schema=orders.schema,
        has_order_row_id=row_id is not None and row_id.type in WHOLE,
        has_balance="balance" in users.columns,
        enums={name: enum for name in sorted(MADE_COLUMNS) if (enum := enum_of(orders.columns[name])) is not None},
        close_reason=close_reason_of(orders),
        may_keep_orders_away=orders.may_keep_rows_away,
    )


def enum_of(column: Column) -> EnumColumn | None:
    """Return what the column's labels mean, the one in lower case first; None for a column of another type."""
    if not column.is_enum:
        return None
    labels: dict[str, str] = {}
    for label in column.labels:
        if label.lower() not in labels or label == label.lower():
            labels[label.lower()] = label
    return EnumColumn(column.type, labels)


def close_reason_of(orders: FoundTable) -> CloseReasonColumn | None:
    """Return what "closeReason" takes; None where there is none, or one that takes no text and can do without."""
    column = orders.columns.get(CLOSE_REASON)
    if column is None or column.generated:
        return None
    enum = enum_of(column)
    if enum is None and _base(column.type) not in REMARKS:
        return None
    return CloseReasonColumn(column.type, enum, column.length, _otherwise(column, enum))


def _otherwise(column: Column, enum: EnumColumn | None) -> str:
    """SQL for an order that tells nothing: the column's default, else `manual` where that fits, else NULL."""
    if column.default is not None:
        return f"({column.default})"
    manual: str | None = MANUAL
    if enum is not None:
        # Where NULL is not taken either, any label is better than an order without its row.
        manual = enum.labels.get(MANUAL) or (column.labels[0] if column.required and column.labels else None)
    elif column.length is not None and column.length < len(MANUAL):
        manual = MANUAL[: column.length] if column.required else None
    return "NULL" if manual is None else "'" + manual.replace("'", "''") + "'"


def _fault(column: Column | None, name: str, need: Need) -> str | None:
    if column is None:
        return f'the column "{name}" is missing'
    if column.generated:
        return f'the column "{name}" is computed by PostgreSQL'
    enum = enum_of(column) if need.values else None
    if enum is not None:
        missing = [value for value in need.values if value not in enum.labels]
        if missing:
            return f'the enum {enum.type} of the column "{name}" lacks a label for {", ".join(missing)}'
        return None
    if (_base(column.type) if need.types == TEXT else column.type) not in need.types:
        return f'the column "{name}" is of type {column.type} instead of {need.types[0]}'
    if need.takes_null and column.required:
        return f'the column "{name}" takes no NULL'
    return None


def _base(type_name: str) -> str:
    """The type without its length."""
    return type_name.partition("(")[0]
