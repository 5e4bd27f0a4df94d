"""What PostgreSQL's catalog says about the platform's two tables, found through the search path."""

from typing import NamedTuple

from sqlalchemy import Connection, text

from dbstorage.database.tables import OWN_SCHEMA


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
    #: Of an enum, in its own order.
    labels: tuple[str, ...] = ()
    #: The most characters of a `character varying(n)` or `character(n)`.
    length: int | None = None
    #: The default as SQL writes it.
    default: str | None = None


class FoundTable(NamedTuple):
    """One table (or view, or whatever carries the name) as it stands in the database."""

    schema: str
    name: str
    is_table: bool
    is_partitioned: bool
    columns: dict[str, Column]
    #: Row security is on for this role, and no policy lets it see and write every row.
    hides_rows: bool = False
    #: A trigger or a rule runs before a row is inserted, and may keep it away without an error.
    may_keep_rows_away: bool = False

    @property
    def title(self) -> str:
        """The name as sentences show it."""
        return f'"{self.name}" in schema "{self.schema}"'


_COLUMNS = text(
    """
    SELECT namespace.nspname AS schema, class.relname AS table_name, class.relkind = 'r' AS is_table,
           class.relkind = 'p' AS is_partitioned,
           attribute.attname AS name, type.typtype = 'e' AS is_enum,
           CASE WHEN type.typtype = 'e'
                THEN quote_ident(type_namespace.nspname) || '.' || quote_ident(type.typname)
                ELSE format_type(attribute.atttypid, attribute.atttypmod) END AS type,
           attribute.attnotnull AS required,
           attribute.atthasdef OR attribute.attidentity <> '' AS has_default,
           attribute.attgenerated <> '' AS generated,
           ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = type.oid ORDER BY enumsortorder) AS labels,
           CASE WHEN type.oid IN ('varchar'::regtype, 'bpchar'::regtype) AND attribute.atttypmod > 0
                THEN attribute.atttypmod - 4 END AS length,
           pg_get_expr(preset.adbin, preset.adrelid) AS default_value,
           row_security_active(class.oid) AND NOT (
             SELECT bool_and(polpermissive) AND bool_or(polcmd IN ('*', 'r') AND sees_all)
                AND bool_or(polcmd IN ('*', 'a') AND writes_all)
                AND bool_or(polcmd IN ('*', 'w') AND sees_all AND writes_all)
             FROM (
               SELECT polpermissive, polcmd, coalesce(pg_get_expr(polqual, polrelid), 'true') = 'true' AS sees_all,
                      coalesce(pg_get_expr(polwithcheck, polrelid), pg_get_expr(polqual, polrelid), 'true') = 'true'
                        AS writes_all
               FROM pg_policy WHERE polrelid = class.oid
                AND (polroles = '{0}' OR EXISTS (
                      SELECT FROM unnest(polroles) AS member (oid) WHERE pg_has_role(member.oid, 'USAGE')))
             ) AS policies
           ) IS TRUE AS hides_rows,
           EXISTS (
             SELECT FROM pg_trigger WHERE tgrelid = class.oid AND tgenabled NOT IN ('D', 'R')
              AND tgtype & 7 = 7
           ) OR EXISTS (SELECT FROM pg_rewrite WHERE ev_class = class.oid AND ev_type = '3') AS may_keep_rows_away
    FROM unnest(ARRAY[to_regclass('"User"'), to_regclass('"Orders"')]) AS wanted (oid)
    JOIN pg_class AS class ON class.oid = wanted.oid
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    JOIN pg_attribute AS attribute
      ON attribute.attrelid = class.oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
    JOIN pg_type AS type ON type.oid = attribute.atttypid
    JOIN pg_namespace AS type_namespace ON type_namespace.oid = type.typnamespace
    LEFT JOIN pg_attrdef AS preset ON preset.adrelid = class.oid AND preset.adnum = attribute.attnum
    ORDER BY class.relname, attribute.attnum
    """
)

_CONSTRAINED = text(
    """
    WITH named AS (
        SELECT 'pg_constraint'::regclass AS catalog, oid, conkey AS numbers FROM pg_constraint
        WHERE conrelid = to_regclass(:table) AND conname = :name
        UNION ALL
        SELECT 'pg_class'::regclass, indexrelid, indkey::int2[] FROM pg_index
        JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = to_regclass(:table) AND relname = :name
    )
    SELECT (
        SELECT coalesce(array_agg(DISTINCT attname::text), '{}') FROM pg_attribute
        WHERE attrelid = to_regclass(:table) AND attnum > 0 AND (
            attnum IN (SELECT unnest(numbers) FROM named)
            OR attnum IN (
                SELECT refobjsubid FROM pg_depend JOIN named ON classid = catalog AND objid = named.oid
                WHERE refclassid = 'pg_class'::regclass AND refobjid = attrelid
            )
        )
    ) AS columns
    WHERE EXISTS (SELECT FROM named)
    """
)


def read_tables(connection: Connection) -> dict[str, FoundTable]:
    """Return those of "User" and "Orders" that the search path leads to, by name."""
    tables: dict[str, FoundTable] = {}
    for row in connection.execute(_COLUMNS):
        table = tables.setdefault(
            row.table_name,
            FoundTable(
                row.schema,
                row.table_name,
                row.is_table,
                row.is_partitioned,
                {},
                row.hides_rows,
                row.may_keep_rows_away,
            ),
        )
        table.columns[row.name] = Column(
            row.name,
            row.type,
            row.is_enum,
            row.required,
            row.has_default or row.generated,
            row.generated,
            tuple(row.labels),
            row.length,
            None if row.generated else row.default_value,
        )
    return tables


def constrained_columns(connection: Connection, schema: str, table: str, name: str) -> frozenset[str] | None:
    """Return the columns that a constraint or an index is over, those of its expressions and conditions included.

    None where the table has no constraint or index of this name.
    """
    found = connection.scalar(_CONSTRAINED, {"table": quoted(schema, table), "name": name})
    return None if found is None else frozenset(found)


def quoted(schema: str, name: str) -> str:
    """Return a name with its schema as SQL writes it."""
    return f"{quoted_name(schema)}.{quoted_name(name)}"


def quoted_name(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def failed_tasks_bytes(connection: Connection) -> int:
    """How much of the disk all failed tasks take, with their attempts and indexes."""
    size = "pg_total_relation_size"
    statement = f"SELECT {size}('{OWN_SCHEMA}.failed_tasks') + {size}('{OWN_SCHEMA}.attempts')"
    return int(connection.scalar(text(statement)) or 0)
