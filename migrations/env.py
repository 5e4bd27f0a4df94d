"""How Alembic connects: one transaction for everything, so that a refused migration leaves nothing behind."""

import logging
import sys
from typing import Any

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from dbstorage.database.engine import create_engine
from dbstorage.database.lock_waits import LockHolder, waits_told
from dbstorage.database.migrate import explained_errors, refusals_explained, refuse_tables
from dbstorage.database.shape import wrong_encoding
from dbstorage.database.sqlstate import ErrorClass, classify
from dbstorage.database.tables import OWN_SCHEMA, metadata
from dbstorage.database.url import DatabaseAddress
from dbstorage.errors import DatabaseNotReadyError, DBStorageError, SettingsError
from dbstorage.settings import load_database_address

#: Any fixed number: two upgrades at once (replicas that start together) run one after the other.
MIGRATION_LOCK = 6_870_118_234_901_775
#: Seconds; waiting longer for a table would hold up everybody who queues behind us.
LOCK_TIMEOUT = 30


def migrate(address: DatabaseAddress) -> None:
    """Run what the alembic command asked for, in one transaction."""
    if context.is_offline_mode():
        raise DBStorageError("--sql is not supported: what the migration does depends on the tables that it finds.")
    engine = create_engine(address, application_name="dbstorage migration", statement_timeout=None)
    try:
        with (
            explained_errors(address),
            engine.begin() as connection,
            waits_told(address, connection, _tell) as waited_for_last,
        ):
            try:
                _run(connection)
            except DBAPIError as error:
                if classify(error) is not ErrorClass.LOCKED:
                    raise
                holder = waited_for_last() or LockHolder()
                raise DatabaseNotReadyError(
                    f"A table is locked by {holder}, for more than {LOCK_TIMEOUT} s: nothing was changed. Run the "
                    "migration again when that transaction has ended (pg_terminate_backend ends it)."
                ) from error
    finally:
        engine.dispose()


def _tell(holder: LockHolder) -> None:
    logging.getLogger("alembic.runtime.migration").warning(
        "The migration waits for %s to end its transaction (pg_terminate_backend ends it).", holder
    )


def _run(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
    connection.execute(text("SELECT set_config('lock_timeout', :timeout, true)"), {"timeout": f"{LOCK_TIMEOUT}s"})
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=OWN_SCHEMA,
        include_schemas=True,
        include_name=_is_ours_or_the_platforms,
        include_object=_is_known,
        compare_server_default=_differs_by_default,
    )
    changes_nothing = context.get_context().opts.get("dont_mutate", False)
    if not changes_nothing and not _schema_exists(connection):
        connection.execute(text(f"CREATE SCHEMA {OWN_SCHEMA}"))
    with refusals_explained():
        context.run_migrations()
    if not changes_nothing and context.get_context().get_current_revision() is None:
        # Down at the base: Alembic's table is the last that is left in our schema.
        connection.execute(text(f"DROP TABLE {OWN_SCHEMA}.alembic_version"))
        connection.execute(text(f"DROP SCHEMA {OWN_SCHEMA}"))
    elif not changes_nothing and "revision_context" not in context.get_context().opts:
        # An upgrade, not a look for differences.
        refuse_tables(connection)
        sentence = wrong_encoding(connection)
        if sentence:
            logging.getLogger("alembic.runtime.migration").warning("%s", sentence)


def _schema_exists(connection: Connection) -> bool:
    return connection.scalar(text("SELECT to_regnamespace(:schema)"), {"schema": OWN_SCHEMA}) is not None


def _is_ours_or_the_platforms(name: str | None, kind: str, parents: Any) -> bool:
    return kind != "schema" or name in (None, OWN_SCHEMA)


def _is_known(_object: Any, _name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
    # The platform has other tables beside "User" and "Orders": they are none of our business.
    return not (kind == "table" and reflected and compare_to is None and _object.schema != OWN_SCHEMA)


def _differs_by_default(
    _context: Any, _inspected: Any, column: Any, _found: Any, described: Any, _rendered: Any
) -> bool | None:
    """A default that only the database has does no harm in "Orders", where we write every column; None: compare.

    A column that was added later keeps the one with which rows that were there were filled: the version before, which
    still runs while a new one is rolled out, writes no value for it.
    """
    return False if column.table.name == "Orders" and described is None else None


def main() -> None:
    """Migrate; the alembic command gets one sentence and an exit code, a program the error itself."""
    address = context.config.attributes.get("address")
    if address is not None:
        migrate(address)
        return
    logging.basicConfig(format="%(message)s")
    log = logging.getLogger("alembic.runtime.migration")
    log.setLevel(logging.INFO)
    try:
        address = load_database_address()
        if address.dropped:
            log.info(
                "Parameters of DATABASE_URL that PostgreSQL does not know are left out: %s", ", ".join(address.dropped)
            )
        migrate(address)
    except DBStorageError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2 if isinstance(error, SettingsError) else 1) from None


main()
