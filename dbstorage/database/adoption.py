"""Decides what a database that Prisma made, or an empty one, lacks, and refuses what DBStorage could not work with."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, text

from dbstorage.database.catalog import FoundTable, read_indexes, read_tables, user_id_cascades
from dbstorage.database.shape import refuse_columns, require_schema
from dbstorage.errors import DatabaseNotReadyError


class OrderIndex(NamedTuple):
    """An index on "Orders" that DBStorage's statements need."""

    name: str
    columns: tuple[str, ...]
    #: The columns as CREATE INDEX takes them, with their direction.
    expressions: tuple[str, ...]


ORDER_INDEXES = (
    OrderIndex("Orders_userId_idx", ("userId",), ('"userId"',)),
    OrderIndex("Orders_closeTime_idx", ("closeTime",), ('"closeTime" DESC',)),
    OrderIndex("Orders_userId_closeTime_idx", ("userId", "closeTime"), ('"userId"', '"closeTime" DESC')),
)
#: Columns whose uniqueness ON CONFLICT relies on.
UNIQUE_COLUMNS = {"User": ("userID", "email"), "Orders": ("orderId",)}


@dataclass(frozen=True)
class Adoption:
    """What has to be created outside of our own schema; tables and rows that are there stay as they are."""

    #: The schema of "User" and "Orders", unquoted.
    schema: str
    missing_tables: tuple[str, ...]
    #: Indexes to add to an "Orders" that is there, each with a name that is free.
    missing_indexes: tuple[OrderIndex, ...]

    def sentences(self) -> list[str]:
        """Say what will be created, one sentence each."""
        return [
            *(f'Create the table "{name}" in schema "{self.schema}".' for name in self.missing_tables),
            *(
                f'Add the index "{index.name}" to "Orders" in schema "{self.schema}" (its writers wait meanwhile).'
                for index in self.missing_indexes
            ),
        ]


def plan_adoption(connection: Connection) -> Adoption:
    """Return what the database lacks, without changing anything.

    Raises DatabaseNotReadyError with one sentence when its tables are not such that DBStorage can work with them.
    """
    state = require_schema(connection)
    tables = read_tables(connection)
    refusal = refuse_columns(tables) or _refuse_keys(connection, tables)
    if refusal:
        raise DatabaseNotReadyError(refusal)
    schema = next((table.schema for table in tables.values()), state.schema)
    orders = tables.get("Orders")
    return Adoption(
        schema=schema,
        missing_tables=tuple(name for name in ("User", "Orders") if name not in tables),
        missing_indexes=tuple(_missing_indexes(connection, orders)) if orders else (),
    )


def _refuse_keys(connection: Connection, tables: dict[str, FoundTable]) -> str | None:
    for table in tables.values():
        unique = {index.columns for index in read_indexes(connection, table) if index.unique}
        for column in UNIQUE_COLUMNS[table.name]:
            if (column,) not in unique:
                return f'{table.title} has no unique index on "{column}" alone, so nothing would keep doubles out.'
    users, orders = tables.get("User"), tables.get("Orders")
    if orders and not (users and user_id_cascades(connection, users, orders)):
        return (
            f'{orders.title} has no foreign key from "userId" to "User" ("userID") with ON UPDATE CASCADE, '
            "so orders would lose their user when its userID changes."
        )
    if users and orders and users.schema != orders.schema:
        return (
            f"{users.title} and {orders.title} are in different schemas: name one of them with schema= in DATABASE_URL."
        )
    return None


def _missing_indexes(connection: Connection, orders: FoundTable) -> Iterable[OrderIndex]:
    # Direction does not count: PostgreSQL reads an index backwards as fast as forwards.
    served = {index.columns for index in read_indexes(connection, orders)}
    for index in ORDER_INDEXES:
        if index.columns not in served:
            yield index._replace(name=_free_name(connection, orders.schema, index.name))


def _free_name(connection: Connection, schema: str, name: str) -> str:
    taken = set(
        connection.scalars(
            text(
                "SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
                "WHERE nspname = :schema AND starts_with(relname::text, :name)"
            ),
            {"schema": schema, "name": name},
        )
    )
    return next(free for number in range(len(taken) + 1) if (free := f"{name}{number or ''}") not in taken)
