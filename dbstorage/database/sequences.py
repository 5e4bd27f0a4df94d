"""The numbers that PostgreSQL gives to rows: whether a sequence is behind its rows, or nearly used up."""

from typing import NamedTuple

from sqlalchemy import Connection, text

from dbstorage.database.catalog import quoted, quoted_name


class NumberedColumn(NamedTuple):
    """A column that a sequence fills."""

    #: Of the table, unquoted.
    schema: str
    table: str
    column: str
    #: The number that the next row gets, as far as this role may see it.
    next_number: int | None
    #: The last number that the sequence gives, and that the column takes.
    last_number: int
    #: Begins again behind the last one, instead of failing.
    cycles: bool = False

    @property
    def title(self) -> str:
        """The name as sentences show it."""
        return f"{quoted(self.schema, self.table)}.{quoted_name(self.column)}"


def numbered_columns(connection: Connection, tables: dict[str, tuple[str, ...]]) -> list[NumberedColumn]:
    """The columns of these tables, given by schema, that sequences fill."""
    found = []
    for schema, names in tables.items():
        rows = connection.execute(_NUMBERED, {"schema": schema, "tables": list(names)})
        found += [NumberedColumn(schema, *row) for row in rows]
    return found


def highest_number(connection: Connection, numbered: NumberedColumn) -> int:
    """The highest number among the rows, 0 without rows."""
    statement = f"SELECT max({quoted_name(numbered.column)}) FROM {quoted(numbered.schema, numbered.table)}"
    return int(connection.exec_driver_sql(statement).scalar() or 0)


#: A sequence of a serial or identity column, or one that a default asks. What was given last is hidden from a role that
#: may not use the sequence, and NULL before the first number.
_NUMBERED = text(
    """
    SELECT DISTINCT class.relname AS table, attribute.attname AS column,
           CASE WHEN has_sequence_privilege(numbers.seqrelid, 'USAGE, SELECT')
                THEN coalesce(pg_sequence_last_value(numbers.seqrelid) + numbers.seqincrement, numbers.seqstart)
                END AS next_number,
           least(numbers.seqmax, CASE attribute.atttypid WHEN 'smallint'::regtype THEN 32767
                                 WHEN 'integer'::regtype THEN 2147483647 ELSE numbers.seqmax END) AS last_number,
           numbers.seqcycle AS cycles
    FROM pg_class AS class
    JOIN pg_namespace AS home ON home.oid = class.relnamespace AND home.nspname = :schema
    JOIN pg_attribute AS attribute ON attribute.attrelid = class.oid AND attnum > 0 AND NOT attisdropped
    LEFT JOIN pg_attrdef AS preset ON preset.adrelid = class.oid AND preset.adnum = attribute.attnum
    JOIN pg_depend AS tie ON
        (tie.classid = 'pg_attrdef'::regclass AND tie.objid = preset.oid AND tie.refclassid = 'pg_class'::regclass)
        OR (tie.classid = 'pg_class'::regclass AND tie.deptype = 'i' AND tie.refclassid = 'pg_class'::regclass
            AND tie.refobjid = class.oid AND tie.refobjsubid = attribute.attnum)
    JOIN pg_sequence AS numbers
      ON numbers.seqrelid = CASE WHEN tie.classid = 'pg_attrdef'::regclass THEN tie.refobjid ELSE tie.objid END
    WHERE class.relname = ANY(:tables)
    ORDER BY 1, 2
    """
)
