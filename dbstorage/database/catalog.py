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


class FoundIndex(NamedTuple):
    """One plain b-tree index over columns of the table, valid and for all rows, in the column's own sort order."""

    name: str
    columns: tuple[str, ...]
    unique: bool


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

_INDEXES = text(
    """
    SELECT class.relname AS name, index.indisunique AND index.indimmediate AS "unique",
           array_agg(attribute.attname::text ORDER BY key.position) AS columns
    FROM pg_index AS index
    JOIN pg_class AS class ON class.oid = index.indexrelid
    JOIN pg_am AS method ON method.oid = class.relam AND method.amname = 'btree'
    CROSS JOIN LATERAL unnest(index.indkey::int2[], index.indclass::oid[], index.indcollation::oid[])
      WITH ORDINALITY AS key (attribute, operator_class, "collation", position)
    LEFT JOIN pg_attribute AS attribute
      ON attribute.attrelid = index.indrelid AND attribute.attnum = key.attribute
     AND (key."collation" = 0 OR key."collation" = attribute.attcollation)
    LEFT JOIN pg_opclass AS operator_class ON operator_class.oid = key.operator_class AND operator_class.opcdefault
    WHERE index.indrelid = CAST(:table AS regclass) AND index.indisvalid AND index.indisready
      AND index.indpred IS NULL AND index.indexprs IS NULL AND key.position <= index.indnkeyatts
    GROUP BY class.relname, index.indisunique, index.indimmediate
    HAVING bool_and(attribute.attname IS NOT NULL AND operator_class.oid IS NOT NULL)
    ORDER BY class.relname
    """
)

_CASCADES = text(
    """
    SELECT count(*) FROM pg_constraint AS "constraint"
    JOIN pg_attribute AS own ON own.attrelid = "constraint".conrelid AND own.attname = 'userId'
    JOIN pg_attribute AS other ON other.attrelid = "constraint".confrelid AND other.attname = 'userID'
    WHERE contype = 'f' AND confupdtype = 'c'
      AND conrelid = CAST(:orders AS regclass) AND confrelid = CAST(:users AS regclass)
      AND conkey = ARRAY[own.attnum] AND confkey = ARRAY[other.attnum]
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


def read_indexes(connection: Connection, table: FoundTable) -> list[FoundIndex]:
    """Return the indexes of the table that a query or ON CONFLICT can use without further conditions."""
    rows = connection.execute(_INDEXES, {"table": quoted(table.schema, table.name)})
    return [FoundIndex(row.name, tuple(row.columns), row.unique) for row in rows]


def user_id_cascades(connection: Connection, users: FoundTable, orders: FoundTable) -> bool:
    """Tell whether orders follow their user when its "userID" changes."""
    return bool(
        connection.scalar(
            _CASCADES, {"users": quoted(users.schema, users.name), "orders": quoted(orders.schema, orders.name)}
        )
    )


def quoted(schema: str, name: str) -> str:
    """Return a name with its schema as SQL writes it."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name))
