"""Checks PostgreSQL without changing anything: version, durability, tables, and the migration."""

from collections.abc import Iterator

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from dbstorage.batch.resources import LOCK_TIMEOUT
from dbstorage.checks.finding import Finding, Grade, away, fine, problem, warning
from dbstorage.checks.trial import run_trial
from dbstorage.database.catalog import failed_tasks_bytes, quoted, quoted_name, read_tables
from dbstorage.database.engine import create_engine
from dbstorage.database.migrate import describe
from dbstorage.database.rights import PLATFORM, Right, missing_rights
from dbstorage.database.sequences import NumberedColumn, highest_number, numbered_columns
from dbstorage.database.shape import (
    TableShape,
    inspect_shape,
    refuse_columns,
    require_schema,
    shape_of,
    wrong_encoding,
)
from dbstorage.database.sqlstate import ErrorClass, classify
from dbstorage.database.sqlstate import describe as describe_error
from dbstorage.database.tables import OWN_SCHEMA
from dbstorage.database.url import DatabaseAddress
from dbstorage.errors import DatabaseNotReadyError, DBStorageError
from dbstorage.order_columns import ColumnKind, of_kind
from dbstorage.settings import Scope, Settings
from dbstorage.storage.locks import find_table_holder
from dbstorage.storage.service import find_service

OLDEST, NEWEST = 15, 18
SERVER, WRITES, TABLES, MIGRATION = "PostgreSQL", "PostgreSQL writes", "Tables", "Migration"
ENCODING, RIGHTS, NUMBERS, FAILED = "Encoding", "Rights", "Sequences", "Failed tasks"
UNIQUE = "Unique indexes"
#: Unique and exclusion rules on the platform's tables, without those over a single column that is unique anyway.
FOREIGN_UNIQUE_INDEXES = """
SELECT class.relname, pg_get_indexdef(rule.indexrelid)
FROM pg_index AS rule JOIN pg_class AS class ON class.oid = rule.indexrelid
WHERE rule.indrelid IN ('"User"'::regclass, '"Orders"'::regclass) AND (rule.indisunique OR rule.indisexclusion)
    AND NOT (
        rule.indnkeyatts = 1 AND rule.indexprs IS NULL AND rule.indpred IS NULL AND EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = rule.indrelid AND attnum = rule.indkey[0]
                AND attname IN ('id', 'userID', 'email', 'orderId')
        )
    )
ORDER BY class.relname
"""
#: A warning says so when a sequence has fewer numbers left.
FEW_NUMBERS = 10_000_000
#: A warning says so when failed tasks take more bytes; docs/operations.md and the alert have the same figure.
MANY_BYTES = 2**30


def check_database(settings: Settings, *, trial: bool = True) -> Iterator[Finding]:
    """Yield the findings; a single one when the server cannot be reached.

    With `trial` it also does what the service does, and rolls it back.
    """
    address = settings.database
    engine = create_engine(address, statement_timeout=30, session_settings={"lock_timeout": str(LOCK_TIMEOUT)})
    findings: list[Finding] = []
    try:
        with engine.connect() as connection:
            try:
                for finding in _findings(connection, settings, trial=trial):
                    findings.append(finding)
            except DBAPIError as error:
                if classify(error) is not ErrorClass.LOCKED:
                    raise
                connection.rollback()
                holder = find_table_holder(connection)
                findings.append(
                    problem(TABLES, f"A table is locked by {holder}; check again when its transaction ends.")
                )
    except DBAPIError as error:
        findings = [away(SERVER, f"{address} cannot be used: {describe_error(error)}.")]
    finally:
        engine.dispose()
    yield from findings


def _findings(connection: Connection, settings: Settings, *, trial: bool) -> Iterator[Finding]:
    if (lacking := _closed_schema(connection)) is not None:
        yield lacking
        return
    migration = list(_migration(settings.database))
    yield _version(connection, settings.database)
    yield from _encoding(connection)
    yield from _writes(connection)
    # Nothing that was looked up before is reused.
    connection.rollback()
    yield _tables(connection, migrated=migration[0].grade is Grade.FINE)
    yield from migration
    if migration[-1].subject == MIGRATION and all(each.grade is Grade.FINE for each in migration):
        yield from _use(connection, settings.scope, trial=trial)


def _closed_schema(connection: Connection) -> Finding | None:
    """The finding that the role may not use our own schema, in which case nothing in it can be checked; else None."""
    if (
        connection.scalar(
            text("SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = :name"),
            {"name": OWN_SCHEMA},
        )
        is not False
    ):
        return None
    return _lacks(Right(("USAGE",), "SCHEMA", quoted_name(OWN_SCHEMA)), connection)


def _lacks(right: Right, connection: Connection) -> Finding:
    role = str(connection.scalar(text("SELECT current_user")))
    return problem(RIGHTS, f"The role {role} lacks {right}: {right.grant(role)}")


def _encoding(connection: Connection) -> Iterator[Finding]:
    sentence = wrong_encoding(connection)
    if sentence:
        yield problem(ENCODING, sentence)


def _use(connection: Connection, scope: Scope, *, trial: bool) -> Iterator[Finding]:
    """Check what the service does with its tables, once these are in order. Leaves no transaction open."""
    try:
        shape = inspect_shape(connection)
    except DatabaseNotReadyError:
        return  # a finding already
    lacking = missing_rights(connection, shape.schema)
    yield from (_lacks(right, connection) for right in lacking)
    if lacking:
        return
    role = connection.scalar(text("SELECT current_user"))
    yield fine(RIGHTS, f"The role {role} has what it needs.")
    tables = {shape.schema: tuple(PLATFORM), OWN_SCHEMA: ("failed_tasks", "operations")}
    numbered = numbered_columns(connection, tables)
    try:
        yield from _numbers(connection, numbered)
        yield from _unique_indexes(connection)
        yield from _failed_tasks(connection)
        if trial:
            # The service waits for a lock as long as it takes; a check should not keep anybody waiting.
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '10s'"))
            yield from run_trial(connection, shape, find_service(connection, scope), numbered)
    finally:
        connection.rollback()


def _numbers(connection: Connection, numbered: list[NumberedColumn]) -> Iterator[Finding]:
    findings = [_number(each, highest_number(connection, each)) for each in numbered]
    wrong = [finding for finding in findings if finding is not None]
    yield from wrong or [fine(NUMBERS, "All sequences are ahead of their rows.")]


def _unique_indexes(connection: Connection) -> Iterator[Finding]:
    """Warn of unique rules that somebody else added: entries that break one fail, which may surprise people."""
    for name, definition in connection.execute(text(FOREIGN_UNIQUE_INDEXES)):
        yield warning(
            UNIQUE,
            f'"{name}" is not an index of Prisma\'s tables: {definition}. What breaks it fails, as user_conflict or '
            "invalid_value; drop the index if it should not.",
        )


def _failed_tasks(connection: Connection) -> Iterator[Finding]:
    taken = failed_tasks_bytes(connection)
    if taken > MANY_BYTES:
        yield warning(
            FAILED,
            f"They take {taken / 2**30:,.1f} GiB of the database's disk. Delete old ones: "
            "dbstorage failed purge --state resolved,discarded --older-than 90d. The room is used again; "
            'VACUUM FULL "dbstorage"."failed_tasks" gives it back to the disk.',
        )


def _number(numbered: NumberedColumn, highest: int) -> Finding | None:
    upcoming, title = numbered.next_number, numbered.title
    if upcoming is not None and upcoming <= highest:
        table = quoted(numbered.schema, numbered.table)
        return problem(
            NUMBERS,
            f"The sequence of {title} is behind its rows, {upcoming} comes next and {highest} is there: "
            f"SELECT setval(pg_get_serial_sequence('{table}', '{numbered.column}'), {highest});",
        )
    if numbered.cycles:
        return warning(
            NUMBERS,
            f"The sequence of {title} begins again behind its last number (CYCLE), where rows have it already: "
            "ALTER SEQUENCE … NO CYCLE.",
        )
    left = max(0, numbered.last_number - max(highest, (upcoming or 1) - 1))
    if left < FEW_NUMBERS:
        sentence = (
            f"The sequence of {title} has {left:,} numbers left: give the column and the sequence the type bigint."
        )
        return problem(NUMBERS, sentence) if left == 0 else warning(NUMBERS, sentence)
    return None


def _migration(address: DatabaseAddress) -> Iterator[Finding]:
    try:
        steps = describe(address)
    except DBStorageError as error:
        yield problem(MIGRATION, f"`dbstorage migrate` would refuse and change nothing. {error}")
        return
    for step in steps:
        yield warning(MIGRATION, f"`dbstorage migrate` would: {step[0].lower()}{step[1:]}")
    if not steps:
        yield fine(MIGRATION, "`dbstorage migrate` has nothing to do.")


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
        *(
            f"{name} as {shape.enums[name].type if name in shape.enums else 'text'}"
            for name in of_kind(ColumnKind.WORD)
        ),
        "closeReason kept" if shape.close_reason else "no closeReason",
        "User with balance" if shape.has_balance else "User without balance",
    ]
    return f"{parts[0]}: {', '.join(parts[1:])}."
