"""The rights that a role needs in the database, and no more: printed by `dbstorage grants`, looked for by `check`."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sqlalchemy import Connection, text

from dbstorage.database.catalog import quoted, quoted_name
from dbstorage.database.tables import OWN_SCHEMA

#: The platform's tables. Orders follow a user that moves by a right of the table's owner, not of the role.
PLATFORM = {"User": ("SELECT", "INSERT", "UPDATE"), "Orders": ("SELECT", "INSERT")}
#: Our own tables, for the worker and the `dbstorage` command.
OWN = {
    "alembic_version": ("SELECT",),
    "failed_tasks": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "attempts": ("SELECT", "INSERT", "DELETE"),
    "applied_users": ("SELECT", "INSERT", "UPDATE"),
    "operations": ("SELECT", "INSERT"),
    "services": ("SELECT", "INSERT", "UPDATE"),
    "positions": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "this_database": ("SELECT",),
}
#: For Flower, which stores no order: it shows failed tasks and notes what operators do with them. The page Service
#: counts orders and finds rows.
FLOWER_PLATFORM = {"User": ("SELECT",), "Orders": ("SELECT",)}
FLOWER = {
    "alembic_version": ("SELECT",),
    "failed_tasks": ("SELECT", "UPDATE"),
    "attempts": ("SELECT",),
    "applied_users": ("SELECT",),
    "operations": ("SELECT", "INSERT"),
    "services": ("SELECT",),
    "positions": ("SELECT",),
    "this_database": ("SELECT",),
}


class Right(NamedTuple):
    """A privilege on an object, both as GRANT writes them: `INSERT` on `TABLE "public"."Orders"`."""

    privileges: tuple[str, ...]
    kind: str
    #: With its schema, quoted.
    name: str

    def grant(self, role: str) -> str:
        """The statement that gives it."""
        return f"GRANT {', '.join(self.privileges)} ON {self.kind} {self.name} TO {quoted_name(role)};"

    def __str__(self) -> str:
        """Name it as it stands in a sentence."""
        return f"{', '.join(self.privileges)} on {self.kind.lower()} {self.name}"


def needed_rights(connection: Connection, schema: str) -> list[Right]:
    """What the worker and the `dbstorage` command need; `schema` is that of the platform's tables."""
    tables = {quoted(schema, name): privileges for name, privileges in PLATFORM.items()}
    tables |= {quoted(OWN_SCHEMA, name): privileges for name, privileges in OWN.items()}
    return [*_rights(connection, (schema, OWN_SCHEMA), tables)]


def flower_rights(connection: Connection, schema: str) -> list[Right]:
    """What Flower needs; `schema` is that of the platform's tables."""
    tables: dict[str, tuple[str, ...]] = {
        quoted(schema, name): privileges for name, privileges in FLOWER_PLATFORM.items()
    }
    tables |= {quoted(OWN_SCHEMA, name): privileges for name, privileges in FLOWER.items()}
    return [*_rights(connection, (schema, OWN_SCHEMA), tables)]


def missing_rights(connection: Connection, schema: str) -> list[Right]:
    """Those of the needed rights that this connection's role lacks; what does not exist is left out."""
    found = []
    for right in needed_rights(connection, schema):
        lacking = tuple(
            privilege
            for privilege in right.privileges
            if connection.scalar(_HAS[right.kind], {"name": right.name, "privilege": privilege}) is False
        )
        if lacking:
            found.append(right._replace(privileges=lacking))
    return found


def _rights(connection: Connection, schemas: tuple[str, ...], tables: Mapping[str, tuple[str, ...]]) -> Iterator[Right]:
    for schema in schemas:
        yield Right(("USAGE",), "SCHEMA", quoted_name(schema))
    for name, privileges in tables.items():
        yield Right(privileges, "TABLE", name)
    for name, privileges in tables.items():
        if "INSERT" in privileges:
            for sequence in connection.scalars(_SEQUENCES, {"name": name}):
                yield Right(("USAGE",), "SEQUENCE", sequence)


#: Names are compared as `quoted` writes them. to_regclass would not do: it wants a right on the schema.
_NAME = """'"' || replace(home.nspname, '"', '""') || '"."' || replace(class.relname, '"', '""') || '"'"""
_CLASS = f"pg_class AS class JOIN pg_namespace AS home ON home.oid = class.relnamespace AND {_NAME} = :name"
#: Sequences that a column's default asks; an identity column asks its own by itself.
_SEQUENCES = text(
    f"""
    SELECT DISTINCT {_NAME} FROM pg_attrdef AS preset
    JOIN pg_depend ON classid = 'pg_attrdef'::regclass AND objid = preset.oid AND refclassid = 'pg_class'::regclass
    JOIN pg_class AS class ON class.oid = refobjid AND relkind = 'S'
    JOIN pg_namespace AS home ON home.oid = relnamespace
    WHERE adrelid = (SELECT class.oid FROM {_CLASS})
    """
)
#: NULL where the object does not exist. A privilege on some columns is enough here, the trial tells whether they do.
_HAS = {
    "SCHEMA": text(
        """
        SELECT has_schema_privilege(oid, :privilege) FROM pg_namespace
        WHERE '"' || replace(nspname, '"', '""') || '"' = :name
        """
    ),
    "TABLE": text(
        f"""
        SELECT has_table_privilege(class.oid, :privilege)
            OR CASE WHEN :privilege <> 'DELETE' THEN has_any_column_privilege(class.oid, :privilege) ELSE false END
        FROM {_CLASS}
        """
    ),
    "SEQUENCE": text(
        f"""
        SELECT has_sequence_privilege(class.oid, :privilege) OR has_sequence_privilege(class.oid, 'UPDATE')
        FROM {_CLASS} WHERE relkind = 'S'
        """
    ),
}
