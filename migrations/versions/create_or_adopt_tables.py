"""Create the tables, or adopt those that Prisma made.

Frozen: it holds a copy of everything it needs, because what a later version asks of the tables is a later revision's
to make. An index on a table that is there already is built while its writers wait: a few seconds for a million orders.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa
from alembic import context, op
from alembic.util import CommandError
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

from dbstorage.database.tables import OWN_SCHEMA

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

#: Failed tasks that somebody, or something, is still to see to.
OPEN = "state IN ('failed', 'retrying')"
#: In the order in which they can be dropped.
OWN_TABLES = (
    *("created_objects", "positions", "services", "this_database", "applied_users", "operations", "attempts"),
    "failed_tasks",
)


class Column(NamedTuple):
    """A column of "User" or "Orders" as it was found; `type` is as SQL writes it."""

    name: str
    type: str
    is_enum: bool
    required: bool
    has_default: bool
    generated: bool


class FoundTable(NamedTuple):
    """One of the two tables as it was found."""

    schema: str
    name: str
    is_table: bool
    columns: dict[str, Column]

    @property
    def title(self) -> str:
        """The name as sentences show it."""
        return f'"{self.name}" in schema "{self.schema}"'


class OrderIndex(NamedTuple):
    """An index on "Orders" that has to be there; `expressions` are its columns as CREATE INDEX takes them."""

    name: str
    columns: tuple[str, ...]
    expressions: tuple[str, ...]


class Adoption(NamedTuple):
    """What has to be created outside of our own schema; tables and rows that are there stay as they are."""

    schema: str
    missing_tables: tuple[str, ...]
    #: Each with a name that is free.
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


ORDER_INDEXES = (
    OrderIndex("Orders_userId_idx", ("userId",), ('"userId"',)),
    OrderIndex("Orders_closeTime_idx", ("closeTime",), ('"closeTime" DESC',)),
    OrderIndex("Orders_userId_closeTime_idx", ("userId", "closeTime"), ('"userId"', '"closeTime" DESC')),
)
#: Columns whose uniqueness ON CONFLICT relies on.
UNIQUE_COLUMNS = {"User": ("userID", "email"), "Orders": ("orderId",)}

TEXT_TYPES = ("text", "character varying")
#: A closeReason of another type is not written, which does no harm where it can do without a value.
REMARK_TYPES = (*TEXT_TYPES, "character", "citext")
DOUBLE_TYPES = ("double precision",)
# Fewer digits would round the milliseconds away.
TIME_TYPES = tuple(f"timestamp{precision} without time zone" for precision in ("(3)", "(4)", "(5)", "(6)", ""))
#: The types that a column may have, by table.
TYPES: dict[str, dict[str, tuple[str, ...]]] = {
    "User": {"userID": TEXT_TYPES, "email": TEXT_TYPES},
    "Orders": {
        **dict.fromkeys(("orderId", "userId", "symbol", "type"), TEXT_TYPES),
        "quantity": DOUBLE_TYPES,
        "leverage": ("integer", "bigint"),
        **dict.fromkeys(("takeProfit", "stopLoss", "stippage", "openPrice", "closePrice"), DOUBLE_TYPES),
        **dict.fromkeys(("openTime", "closeTime"), TIME_TYPES),
        "profitLoss": DOUBLE_TYPES,
    },
}
MAY_BE_ENUMS = ("symbol", "type", "closeReason")
MAY_BE_NULL = ("takeProfit", "stopLoss", "stippage")


def upgrade() -> None:
    """Create what is missing; tables that are there keep their rows, columns and constraints."""
    adoption = plan_adoption(op.get_bind())
    _create_own_tables()
    if "User" in adoption.missing_tables:
        _create_users(adoption.schema)
    if "Orders" in adoption.missing_tables:
        _create_orders(adoption.schema)
    for index in adoption.missing_indexes:
        op.create_index(index.name, "Orders", [sa.text(each) for each in index.expressions], schema=adoption.schema)
    created = [("table", name) for name in adoption.missing_tables]
    created += [("index", index.name) for index in adoption.missing_indexes]
    for kind, name in created:
        op.get_bind().execute(
            sa.text("INSERT INTO dbstorage.created_objects (kind, schema_name, name) VALUES (:kind, :schema, :name)"),
            {"kind": kind, "schema": adoption.schema, "name": name},
        )


def downgrade() -> None:
    """Remove our schema and the indexes we added; a table with rows, or one we did not create, stays."""
    connection = op.get_bind()
    _refuse_to_lose_failed_tasks(connection)
    created = connection.execute(sa.text("SELECT kind, schema_name, name FROM dbstorage.created_objects")).all()
    for _, schema, name in [row for row in created if row.kind == "index"]:
        op.drop_index(name, schema=schema, if_exists=True)
    # "Orders" first: it refers to "User".
    for _, schema, name in sorted((row for row in created if row.kind == "table"), key=lambda row: str(row.name)):
        _drop_if_empty(connection, schema, name)
    for name in OWN_TABLES:
        op.drop_table(name, schema=OWN_SCHEMA)


def _create_users(schema: str) -> None:
    op.create_table(
        "User",
        sa.Column("id", sa.Integer, autoincrement=True),
        sa.Column("userID", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("balance", sa.Double, nullable=False, server_default=sa.text("10000")),
        sa.PrimaryKeyConstraint("id", name="User_pkey"),
        schema=schema,
    )
    op.create_index("User_userID_key", "User", ["userID"], unique=True, schema=schema)
    op.create_index("User_email_key", "User", ["email"], unique=True, schema=schema)


def _create_orders(schema: str) -> None:
    op.create_table(
        "Orders",
        sa.Column("id", sa.Integer, autoincrement=True),
        sa.Column("orderId", sa.Text, nullable=False),
        sa.Column("userId", sa.Text, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("quantity", sa.Double, nullable=False),
        sa.Column("leverage", sa.Integer, nullable=False),
        sa.Column("takeProfit", sa.Double),
        sa.Column("stopLoss", sa.Double),
        sa.Column("stippage", sa.Double),
        sa.Column("openPrice", sa.Double, nullable=False),
        sa.Column("closePrice", sa.Double, nullable=False),
        sa.Column("openTime", TIMESTAMP(precision=3), nullable=False),
        sa.Column("closeTime", TIMESTAMP(precision=3), nullable=False),
        sa.Column("profitLoss", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="Orders_pkey"),
        schema=schema,
    )
    op.create_foreign_key(
        "Orders_userId_fkey",
        "Orders",
        "User",
        ["userId"],
        ["userID"],
        onupdate="CASCADE",
        ondelete="RESTRICT",
        source_schema=schema,
        referent_schema=schema,
    )
    op.create_index("Orders_orderId_key", "Orders", ["orderId"], unique=True, schema=schema)
    for index in ORDER_INDEXES:
        op.create_index(index.name, "Orders", [sa.text(each) for each in index.expressions], schema=schema)


def _create_own_tables() -> None:
    op.create_table(
        "failed_tasks",
        sa.Column("id", sa.BigInteger, autoincrement=True),
        *_scope_columns(),
        sa.Column("life", sa.BigInteger, nullable=False),
        sa.Column("task_id", sa.Text, nullable=False),
        sa.Column("function", sa.Text),
        sa.Column("entry_id", sa.Text),
        sa.Column("layout", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("whole_length", sa.BigInteger),
        sa.Column("whole_sha256", sa.Text),
        sa.Column("original_payload", sa.LargeBinary),
        sa.Column("user_id", sa.Text),
        sa.Column("order_id", sa.Text),
        sa.Column("belongs_to", sa.Text),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("1")),
        sa.Column("first_failed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("last_failed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="failed_tasks_pkey"),
        sa.CheckConstraint("layout IN ('envelope', 'flat')", name="failed_tasks_layout_check"),
        sa.CheckConstraint("state IN ('failed', 'retrying', 'resolved', 'discarded')", name="failed_tasks_state_check"),
        schema=OWN_SCHEMA,
    )
    _index_failed_tasks("entry_id_key", ["life", "entry_id"], unique=True)
    _index_failed_tasks("task_id_key", ["task_id"], unique=True, where="entry_id IS NULL")
    _index_failed_tasks("last_failed_at_idx", [sa.text("last_failed_at DESC"), sa.text("id DESC")])
    _index_failed_tasks("state_code_idx", ["state", "code"])
    _index_failed_tasks("retry_at_idx", ["retry_at", "id"], where="state = 'retrying'")
    _index_failed_tasks("user_id_idx", ["user_id"], where=f"{OPEN} AND function = 'createCloseOrder'")
    _index_failed_tasks("belongs_to_idx", ["belongs_to"], where=f"{OPEN} AND belongs_to IS NOT NULL")
    _create_history()
    op.create_table(
        "applied_users",
        *_scope_columns(),
        sa.Column("identity", sa.Text, nullable=False),
        sa.Column("life", sa.BigInteger, nullable=False),
        sa.Column("entry_position", sa.Numeric(40, 0), nullable=False),
        sa.PrimaryKeyConstraint("stream", "consumer_group", "identity", name="applied_users_pkey"),
        schema=OWN_SCHEMA,
    )
    _create_identity()
    op.create_table(
        "created_objects",
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("schema_name", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("kind", "schema_name", "name", name="created_objects_pkey"),
        sa.CheckConstraint("kind IN ('table', 'index')", name="created_objects_kind_check"),
        schema=OWN_SCHEMA,
    )


def _create_history() -> None:
    op.create_table(
        "attempts",
        sa.Column("failed_task_id", sa.BigInteger, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        *_scope_columns(),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("code", sa.Text),
        sa.Column("message", sa.Text),
        sa.PrimaryKeyConstraint("failed_task_id", "number", name="attempts_pkey"),
        sa.ForeignKeyConstraint(
            ["failed_task_id"],
            [f"{OWN_SCHEMA}.failed_tasks.id"],
            name="attempts_failed_task_id_fkey",
            ondelete="CASCADE",
        ),
        schema=OWN_SCHEMA,
    )
    op.create_table(
        "operations",
        sa.Column("id", sa.BigInteger, autoincrement=True),
        *_scope_columns(),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("filter", JSONB),
        sa.Column("affected", sa.BigInteger),
        sa.Column("reason", sa.Text),
        sa.PrimaryKeyConstraint("id", name="operations_pkey"),
        schema=OWN_SCHEMA,
    )
    op.create_index(
        "operations_at_idx",
        "operations",
        ["stream", "consumer_group", sa.text("at DESC"), sa.text("id DESC")],
        schema=OWN_SCHEMA,
    )


def _create_identity() -> None:
    op.create_table(
        "this_database",
        sa.Column("id", sa.Uuid, nullable=False, server_default=sa.func.gen_random_uuid()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("id", name="this_database_pkey"),
        schema=OWN_SCHEMA,
    )
    op.get_bind().execute(sa.text("INSERT INTO dbstorage.this_database DEFAULT VALUES"))
    op.create_table(
        "services",
        *_scope_columns(),
        sa.Column("life", sa.BigInteger, nullable=False, server_default=sa.text("1")),
        sa.Column("group_creation", sa.Text),
        sa.Column("life_began_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("stream", "consumer_group", name="services_pkey"),
        schema=OWN_SCHEMA,
    )
    op.create_table(
        "positions",
        *_scope_columns(),
        sa.Column("writer", sa.Text, nullable=False),
        sa.Column("life", sa.BigInteger, nullable=False),
        sa.Column("entry_position", sa.Numeric(40, 0), nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("stream", "consumer_group", "writer", name="positions_pkey"),
        schema=OWN_SCHEMA,
    )


def _scope_columns() -> tuple[sa.Column[str], sa.Column[str]]:
    return sa.Column("stream", sa.Text, nullable=False), sa.Column("consumer_group", sa.Text, nullable=False)


def _index_failed_tasks(
    suffix: str, columns: list[str | sa.TextClause], *, unique: bool = False, where: str | None = None
) -> None:
    condition = sa.text(where) if where else None
    op.create_index(
        f"failed_tasks_{suffix}",
        "failed_tasks",
        ["stream", "consumer_group", *columns],
        schema=OWN_SCHEMA,
        unique=unique,
        postgresql_where=condition,
    )


def _refuse_to_lose_failed_tasks(connection: sa.Connection) -> None:
    if context.get_x_argument(as_dictionary=True).get("discard-failed-tasks") == "yes":
        return
    connection.execute(sa.text("LOCK TABLE dbstorage.failed_tasks IN ACCESS EXCLUSIVE MODE"))
    unfinished = connection.scalar(
        sa.text("SELECT count(*) FROM dbstorage.failed_tasks WHERE state IN ('failed', 'retrying')")
    )
    if unfinished:
        raise CommandError(
            f"{unfinished} failed tasks are neither resolved nor discarded and a downgrade would lose them: "
            "see to them with dbstorage failed, or run alembic -x discard-failed-tasks=yes downgrade."
        )


def _drop_if_empty(connection: sa.Connection, schema: str, name: str) -> None:
    title = _quoted(schema, name)
    if connection.scalar(sa.text("SELECT to_regclass(:title)"), {"title": title}) is None:
        return
    # Locked before the look: nobody may add a row in between. A colon would begin a parameter.
    connection.execute(sa.text(f"LOCK TABLE {title.replace(':', chr(92) + ':')} IN ACCESS EXCLUSIVE MODE"))
    if connection.scalar(sa.select(sa.literal(1)).select_from(sa.table(name, schema=schema)).limit(1)):
        context.config.print_stdout('The table "%s" in schema "%s" holds rows and was kept.', name, schema)
    else:
        op.drop_table(name, schema=schema)


def plan_adoption(connection: sa.Connection) -> Adoption:
    """What the database lacks; changes nothing. Raises CommandError with one sentence where it cannot be adopted."""
    schema = _current_schema(connection)
    tables = _read_tables(connection)
    refusal = next(_refusals(connection, tables), None)
    if refusal:
        raise CommandError(refusal)
    orders = tables.get("Orders")
    return Adoption(
        schema=next((table.schema for table in tables.values()), schema),
        missing_tables=tuple(name for name in ("User", "Orders") if name not in tables),
        missing_indexes=tuple(_missing_indexes(connection, orders)) if orders else (),
    )


def _current_schema(connection: sa.Connection) -> str:
    state = connection.execute(
        sa.text(
            "SELECT current_database() AS database, current_schema() AS schema, "
            "current_setting('search_path') AS search_path"
        )
    ).one()
    if state.schema is None:
        raise CommandError(
            f'The schema {state.search_path} does not exist in the database "{state.database}" '
            "or may not be used by this user: create it, or correct schema= in DATABASE_URL."
        )
    if state.schema == OWN_SCHEMA:
        raise CommandError(
            f'The schema "{OWN_SCHEMA}" is kept for our own tables: name another one with schema= in DATABASE_URL.'
        )
    return str(state.schema)


def _refusals(connection: sa.Connection, tables: dict[str, FoundTable]) -> Iterator[str]:
    for name in ("User", "Orders"):
        if name in tables:
            yield from _column_refusals(tables[name])
    for table in tables.values():
        unique = {columns for columns, is_unique in _read_indexes(connection, table) if is_unique}
        for column in UNIQUE_COLUMNS[table.name]:
            if (column,) not in unique:
                yield f'{table.title} has no unique index on "{column}" alone, so nothing would keep doubles out.'
    users, orders = tables.get("User"), tables.get("Orders")
    if orders and not (users and _user_id_cascades(connection, users, orders)):
        yield (
            f'{orders.title} has no foreign key from "userId" to "User" ("userID") with ON UPDATE CASCADE, '
            "so orders would lose their user when its userID changes."
        )
    if users and orders and users.schema != orders.schema:
        yield (
            f"{users.title} and {orders.title} are in different schemas: name one of them with schema= in DATABASE_URL."
        )


def _column_refusals(table: FoundTable) -> Iterator[str]:
    if not table.is_table:
        yield f"{table.title} is not an ordinary table, so DBStorage cannot write to it."
        return
    types = dict(TYPES[table.name])
    remark = table.columns.get("closeReason")
    if table.name == "Orders" and remark and (remark.is_enum or remark.type.partition("(")[0] in REMARK_TYPES):
        types["closeReason"] = REMARK_TYPES
    faults = [fault for name in types if (fault := _fault(table.columns.get(name), name, types[name]))]
    faults += [
        f'the column "{column.name}" needs a value that DBStorage does not know'
        for column in table.columns.values()
        if column.name not in types and column.required and not column.has_default
    ]
    if faults:
        yield f"DBStorage cannot write to {table.title}: {'; '.join(faults)}."


def _fault(column: Column | None, name: str, types: tuple[str, ...]) -> str | None:
    if column is None:
        return f'the column "{name}" is missing'
    if column.generated:
        return f'the column "{name}" is computed by PostgreSQL'
    if column.is_enum and name in MAY_BE_ENUMS:
        return None
    found = column.type.partition("(")[0] if types in (TEXT_TYPES, REMARK_TYPES) else column.type
    if found not in types:
        return f'the column "{name}" is of type {column.type} instead of {types[0]}'
    if name in MAY_BE_NULL and column.required:
        return f'the column "{name}" takes no NULL'
    return None


def _missing_indexes(connection: sa.Connection, orders: FoundTable) -> Iterator[OrderIndex]:
    # Direction does not count: PostgreSQL reads an index backwards as fast as forwards.
    served = {columns for columns, _ in _read_indexes(connection, orders)}
    for index in ORDER_INDEXES:
        if index.columns not in served:
            yield index._replace(name=_free_name(connection, orders.schema, index.name))


def _free_name(connection: sa.Connection, schema: str, name: str) -> str:
    taken = set(
        connection.scalars(
            sa.text(
                "SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
                "WHERE nspname = :schema AND starts_with(relname::text, :name)"
            ),
            {"schema": schema, "name": name},
        )
    )
    return next(free for number in range(len(taken) + 1) if (free := f"{name}{number or ''}") not in taken)


def _read_indexes(connection: sa.Connection, table: FoundTable) -> list[tuple[tuple[str, ...], bool]]:
    """The columns of each index that serves a query or ON CONFLICT without further conditions; whether it is unique."""
    rows: Any = connection.execute(_INDEXES, {"table": _quoted(table.schema, table.name)})
    return [(tuple(row.columns), row.unique) for row in rows]


def _user_id_cascades(connection: sa.Connection, users: FoundTable, orders: FoundTable) -> bool:
    """Whether orders follow their user when its "userID" changes."""
    names = {"users": _quoted(users.schema, users.name), "orders": _quoted(orders.schema, orders.name)}
    return bool(connection.scalar(_CASCADES, names))


def _quoted(schema: str, name: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name))


def _read_tables(connection: sa.Connection) -> dict[str, FoundTable]:
    """Return those of "User" and "Orders" that the search path leads to, by name."""
    tables: dict[str, FoundTable] = {}
    for row in connection.execute(_COLUMNS):
        table = tables.setdefault(row.table_name, FoundTable(row.schema, row.table_name, row.is_table, {}))
        table.columns[row.name] = Column(
            row.name, row.type, row.is_enum, row.required, row.has_default or row.generated, row.generated
        )
    return tables


_COLUMNS = sa.text(
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

_INDEXES = sa.text(
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

_CASCADES = sa.text(
    """
    SELECT count(*) FROM pg_constraint AS "constraint"
    JOIN pg_attribute AS own ON own.attrelid = "constraint".conrelid AND own.attname = 'userId'
    JOIN pg_attribute AS other ON other.attrelid = "constraint".confrelid AND other.attname = 'userID'
    WHERE contype = 'f' AND confupdtype = 'c'
      AND conrelid = CAST(:orders AS regclass) AND confrelid = CAST(:users AS regclass)
      AND conkey = ARRAY[own.attnum] AND confkey = ARRAY[other.attnum]
    """
)
