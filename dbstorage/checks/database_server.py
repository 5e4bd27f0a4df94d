"""What can be said about PostgreSQL without changing anything: version, durability, tables, and the migration."""

from collections.abc import Iterator

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from dbstorage.checks.finding import Finding, Grade, fine, problem, warning
from dbstorage.database.catalog import read_tables
from dbstorage.database.engine import create_engine
from dbstorage.database.migrate import describe
from dbstorage.database.shape import TableShape, inspect_shape, refuse_columns, require_schema, shape_of
from dbstorage.database.sqlstate import describe as describe_error
from dbstorage.database.url import DatabaseAddress
from dbstorage.errors import DatabaseNotReadyError, DBStorageError

OLDEST, NEWEST = 15, 18
SERVER, WRITES, TABLES, MIGRATION = "PostgreSQL", "PostgreSQL writes", "Tables", "Migration"


def check_database(address: DatabaseAddress) -> Iterator[Finding]:
    """Yield what is found; only the first finding when the server cannot be reached."""
    engine = create_engine(address, statement_timeout=30)
    try:
        with engine.connect() as connection:
            migration = list(_migration(address))
            tables = _tables(connection, migrated=migration[0].grade is Grade.FINE)
            findings = [_version(connection, address), *_writes(connection), tables, *migration]
    except DBAPIError as error:
        findings = [problem(SERVER, f"{address} cannot be used: {describe_error(error)}.")]
    finally:
        engine.dispose()
    yield from findings


def _migration(address: DatabaseAddress) -> Iterator[Finding]:
    try:
        steps = describe(address)
    except DBStorageError as error:
        yield problem(MIGRATION, f"alembic upgrade head would refuse and change nothing. {error}")
        return
    for step in steps:
        yield warning(MIGRATION, f"alembic upgrade head would: {step[0].lower()}{step[1:]}")
    if not steps:
        yield fine(MIGRATION, "alembic upgrade head has nothing to do.")


def _version(connection: Connection, address: DatabaseAddress) -> Finding:
    number = int(connection.scalar(text("SHOW server_version_num")) or 0)
    name = f"PostgreSQL {connection.scalar(text('SHOW server_version'))}"
    if OLDEST <= number // 10_000 <= NEWEST:
        return fine(SERVER, f"{name} at {address}.")
    return warning(SERVER, f"{name} at {address}; DBStorage expects PostgreSQL {OLDEST} to {NEWEST}.")


def _writes(connection: Connection) -> Iterator[Finding]:
    if connection.scalar(text("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean")):
        yield problem(WRITES, "The server takes no writes: it is a standby or read-only.")
    off = connection.scalars(
        text(
            "SELECT name FROM pg_settings "
            "WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name"
        )
    ).all()
    if off:
        yield warning(WRITES, f"Off: {', '.join(off)}. A crash may lose orders that were acknowledged already.")


def _tables(connection: Connection, *, migrated: bool) -> Finding:
    try:
        if migrated:
            return fine(TABLES, _in_words(inspect_shape(connection)))
        require_schema(connection)
    except DatabaseNotReadyError as error:
        return problem(TABLES, str(error))
    tables = read_tables(connection)
    if len(tables) < 2:
        found = f"only {next(iter(tables.values())).title}" if tables else "neither User nor Orders"
        return fine(TABLES, f"There is {found} yet.")
    refusal = refuse_columns(tables)
    if refusal:
        return problem(TABLES, refusal)
    return fine(TABLES, _in_words(shape_of(tables["User"], tables["Orders"])))


def _in_words(shape: TableShape) -> str:
    parts = [
        f'In schema "{shape.schema}"',
        'Orders with the key "id"' if shape.has_order_row_id else 'Orders with the key "orderId"',
        f"symbol as {shape.symbol.type if shape.symbol else 'text'}",
        f"type as {shape.side.type if shape.side else 'text'}",
        "closeReason kept" if shape.close_reason else "no closeReason",
        "User with balance" if shape.has_balance else "User without balance",
    ]
    return f"{parts[0]}: {', '.join(parts[1:])}."
