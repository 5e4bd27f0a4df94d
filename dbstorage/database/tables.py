"""The tables: the platform's two as Prisma lays them out, and our own in the PostgreSQL schema `dbstorage`.

`User` and `Orders` name no schema: they live where the search path of the connection leads.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.types import TypeEngine

from dbstorage.order_columns import ORDER_COLUMNS, ColumnKind

#: The PostgreSQL schema of our own tables, so that Prisma sees no drift in its own.
OWN_SCHEMA = "dbstorage"

metadata = MetaData()

users = Table(
    "User",
    metadata,
    Column("id", Integer, autoincrement=True),
    Column("userID", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("balance", Double, nullable=False, server_default=text("10000")),
    PrimaryKeyConstraint("id", name="User_pkey"),
    # Unique indexes, not constraints: that is what Prisma creates.
    Index("User_userID_key", "userID", unique=True),
    Index("User_email_key", "email", unique=True),
)

_TYPES: dict[ColumnKind, TypeEngine[Any]] = {
    ColumnKind.ID: Text(),
    ColumnKind.WORD: Text(),
    ColumnKind.TIME: TIMESTAMP(precision=3),
    ColumnKind.AMOUNT: Double(),
    ColumnKind.LIMIT: Double(),
    ColumnKind.LEVERAGE: Integer(),
}

orders = Table(
    "Orders",
    metadata,
    Column("id", Integer, autoincrement=True),
    # A table that we make has no remark.
    *(
        Column(column.name, _TYPES[column.kind], nullable=column.kind is ColumnKind.LIMIT)
        for column in ORDER_COLUMNS
        if column.kind is not ColumnKind.REMARK
    ),
    PrimaryKeyConstraint("id", name="Orders_pkey"),
    ForeignKeyConstraint(
        ["userId"], ["User.userID"], name="Orders_userId_fkey", onupdate="CASCADE", ondelete="RESTRICT"
    ),
    Index("Orders_orderId_key", "orderId", unique=True),
    Index("Orders_userId_idx", "userId"),
    Index("Orders_closeTime_idx", text('"closeTime" DESC')),
    Index("Orders_userId_closeTime_idx", "userId", text('"closeTime" DESC')),
)


def scope_columns() -> tuple[Column[str], Column[str]]:
    """Which service a row belongs to."""
    return Column("stream", Text, nullable=False), Column("consumer_group", Text, nullable=False)


#: One row for each command that failed or waits for a retry; `payload` holds the bytes as they came. The ids of entries
#: begin anew with each `life` of the stream.
failed_tasks = Table(
    "failed_tasks",
    metadata,
    Column("id", BigInteger, autoincrement=True),
    *scope_columns(),
    Column("life", BigInteger, nullable=False),
    Column("task_id", Text, nullable=False),
    Column("function", Text),
    Column("entry_id", Text),
    Column("layout", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    #: Set where `payload` is only the beginning of an entry that was too large: the bytes of its names and values, and
    #: the SHA-256 (hexadecimal) of its values, where the worker had them whole.
    Column("whole_length", BigInteger),
    Column("whole_sha256", Text),
    #: The payload as it came, where an operator has mended it.
    Column("original_payload", LargeBinary),
    Column("user_id", Text),
    Column("order_id", Text),
    #: The userID, as of now, of the person that the order belongs to; where it is set it counts instead of the order's.
    Column("belongs_to", Text),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("1")),
    Column("first_failed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("last_failed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("state", Text, nullable=False),
    Column("retry_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("id", name="failed_tasks_pkey"),
    CheckConstraint("layout IN ('envelope', 'flat')", name="failed_tasks_layout_check"),
    CheckConstraint("state IN ('failed', 'retrying', 'resolved', 'discarded')", name="failed_tasks_state_check"),
    Index("failed_tasks_entry_id_key", "stream", "consumer_group", "life", "entry_id", unique=True),
    Index(
        "failed_tasks_task_id_key",
        "stream",
        "consumer_group",
        "task_id",
        unique=True,
        postgresql_where=text("entry_id IS NULL"),
    ),
    Index("failed_tasks_last_failed_at_idx", "stream", "consumer_group", text("last_failed_at DESC"), text("id DESC")),
    Index("failed_tasks_state_code_idx", "stream", "consumer_group", "state", "code"),
    Index(
        "failed_tasks_retry_at_idx",
        "stream",
        "consumer_group",
        "retry_at",
        "id",
        postgresql_where=text("state = 'retrying'"),
    ),
    Index(
        "failed_tasks_user_id_idx",
        "stream",
        "consumer_group",
        "user_id",
        postgresql_where=text("state IN ('failed', 'retrying') AND function = 'createCloseOrder'"),
    ),
    Index(
        "failed_tasks_belongs_to_idx",
        "stream",
        "consumer_group",
        "belongs_to",
        postgresql_where=text("state IN ('failed', 'retrying') AND belongs_to IS NOT NULL"),
    ),
    schema=OWN_SCHEMA,
)

#: The last attempts of a failed task, the first one included; `code` is empty where it succeeded.
attempts = Table(
    "attempts",
    metadata,
    Column("failed_task_id", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),
    *scope_columns(),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("outcome", Text, nullable=False),
    Column("code", Text),
    Column("message", Text),
    PrimaryKeyConstraint("failed_task_id", "number", name="attempts_pkey"),
    ForeignKeyConstraint(
        ["failed_task_id"],
        [f"{OWN_SCHEMA}.failed_tasks.id"],
        name="attempts_failed_task_id_fkey",
        ondelete="CASCADE",
    ),
    schema=OWN_SCHEMA,
)

#: What operators did; `filter` says to which tasks, `affected` to how many.
operations = Table(
    "operations",
    metadata,
    Column("id", BigInteger, autoincrement=True),
    *scope_columns(),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("filter", JSONB(none_as_null=True)),
    Column("affected", BigInteger),
    Column("reason", Text),
    PrimaryKeyConstraint("id", name="operations_pkey"),
    Index("operations_at_idx", "stream", "consumer_group", text("at DESC"), text("id DESC")),
    schema=OWN_SCHEMA,
)

#: The stream position (milliseconds * 2^64 + sequence) of the last createUser applied to "email:…" or "id:…". One of an
#: earlier life of the stream says nothing.
applied_users = Table(
    "applied_users",
    metadata,
    *scope_columns(),
    Column("identity", Text, nullable=False),
    Column("life", BigInteger, nullable=False),
    Column("entry_position", Numeric(40, 0), nullable=False),
    PrimaryKeyConstraint("stream", "consumer_group", "identity", name="applied_users_pkey"),
    schema=OWN_SCHEMA,
)

#: One row: what tells this database from every other one.
this_database = Table(
    "this_database",
    metadata,
    Column("id", Uuid, nullable=False, server_default=func.gen_random_uuid()),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("id", name="this_database_pkey"),
    schema=OWN_SCHEMA,
)

#: One row for each service that stores here: the life of its stream, and the creation of the group that began it.
services = Table(
    "services",
    metadata,
    *scope_columns(),
    Column("life", BigInteger, nullable=False, server_default=text("1")),
    Column("group_creation", Text),
    Column("life_began_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("stream", "consumer_group", name="services_pkey"),
    schema=OWN_SCHEMA,
)

#: Up to where each process of each worker applied the stream: a row of its own, so that none waits for another.
positions = Table(
    "positions",
    metadata,
    *scope_columns(),
    Column("writer", Text, nullable=False),
    Column("life", BigInteger, nullable=False),
    Column("entry_position", Numeric(40, 0), nullable=False),
    #: SHA-256 of the entry at that position, by which a stream made anew with the same ids is told.
    Column("digest", LargeBinary, nullable=False),
    Column("applied_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("stream", "consumer_group", "writer", name="positions_pkey"),
    schema=OWN_SCHEMA,
)

#: What the migration created outside of our schema, so that a downgrade never touches what it found.
created_objects = Table(
    "created_objects",
    metadata,
    Column("kind", Text, nullable=False),
    Column("schema_name", Text, nullable=False),
    Column("name", Text, nullable=False),
    PrimaryKeyConstraint("kind", "schema_name", "name", name="created_objects_pkey"),
    CheckConstraint("kind IN ('table', 'index')", name="created_objects_kind_check"),
    schema=OWN_SCHEMA,
)
