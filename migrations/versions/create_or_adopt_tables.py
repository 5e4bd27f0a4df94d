"""Create the tables, or adopt those that Prisma made.

An index on a table that is there already is built while its writers wait: a few seconds for a million orders.
"""

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

from dbstorage.database.adoption import ORDER_INDEXES, plan_adoption
from dbstorage.database.catalog import quoted
from dbstorage.errors import DBStorageError

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

OWN_SCHEMA = "dbstorage"
#: In the order in which they can be dropped.
OWN_TABLES = (
    *("created_objects", "positions", "services", "this_database", "applied_users", "operations", "attempts"),
    "failed_tasks",
)


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
        sa.Column("user_id", sa.Text),
        sa.Column("order_id", sa.Text),
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
    _index_failed_tasks("user_id_idx", ["user_id"], where="state IN ('failed', 'retrying') AND code = 'user_not_found'")
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
        raise DBStorageError(
            f"{unfinished} failed tasks are neither resolved nor discarded and a downgrade would lose them: "
            "see to them with dbstorage failed, or run alembic -x discard-failed-tasks=yes downgrade."
        )


def _drop_if_empty(connection: sa.Connection, schema: str, name: str) -> None:
    title = quoted(schema, name)
    if connection.scalar(sa.text("SELECT to_regclass(:title)"), {"title": title}) is None:
        return
    # Locked before the look: nobody may add a row in between. A colon would begin a parameter.
    connection.execute(sa.text(f"LOCK TABLE {title.replace(':', chr(92) + ':')} IN ACCESS EXCLUSIVE MODE"))
    if connection.scalar(sa.select(sa.literal(1)).select_from(sa.table(name, schema=schema)).limit(1)):
        context.config.print_stdout('The table "%s" in schema "%s" holds rows and was kept.', name, schema)
    else:
        op.drop_table(name, schema=schema)
