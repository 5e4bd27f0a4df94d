"""What PostgreSQL's catalog says about the platform's two tables, found through the search path."""

from typing import NamedTuple

from sqlalchemy import Connection, text


class Column(NamedTuple):
    """One column as it stands in the database."""

    name: str
    #: As SQL writes it, quoted and with its schema where needed, fit for a cast: `text`, `"public"."Symbol"`.
    type: str
    is_enum: bool
    required: bool
    #: A value comes by itself: default, identity or generated.
    has_default: bool
    #: Computed by PostgreSQL from other columns: nothing can be written to it.
    generated: bool


class FoundTable(NamedTuple):
    """One table (or view, or whatever carries the name) as it stands in the database."""

    schema: str
    name: str
    is_table: bool
    columns: dict[str, Column]

    @property
    def title(self) -> str:
        """The name as sentences show it."""
        return f'"{self.name}" in schema "{self.schema}"'


_COLUMNS = text(
    """
    SELECT namespace.nspname AS schema, class.relname AS table_name, class.relkind = 'r' AS is_table,
           attribute.attname AS name, type.typtype = 'e' AS is_enum,
           CASE WHEN type.typtype = 'e'
                THEN quote_ident(type_namespace.nspname) || '.' || quote_ident(type.typname)
                ELSE format_type(attribute.atttypid, attribute.atttypmod) END AS type,
           attribute.attnotnull AS required,
           attribute.atthasdef OR attribute.attidentity <> '' AS has_default,
           attribute.attgenerated <> '' AS generated
    FROM unnest(ARRAY[to_regclass('"User"'), to_regclass('"Orders"')]) AS wanted (oid)
    JOIN pg_class AS class ON class.oid = wanted.oid
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    JOIN pg_attribute AS attribute
      ON attribute.attrelid = class.oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
    JOIN pg_type AS type ON type.oid = attribute.atttypid
    JOIN pg_namespace AS type_namespace ON type_namespace.oid = type.typnamespace
    ORDER BY class.relname, attribute.attnum
    """
)


def read_tables(connection: Connection) -> dict[str, FoundTable]:
    """Return those of "User" and "Orders" that the search path leads to, by name."""
    tables: dict[str, FoundTable] = {}
    for row in connection.execute(_COLUMNS):
        table = tables.setdefault(row.table_name, FoundTable(row.schema, row.table_name, row.is_table, {}))
        table.columns[row.name] = Column(
            row.name, row.type, row.is_enum, row.required, row.has_default or row.generated, row.generated
        )
    return tables
