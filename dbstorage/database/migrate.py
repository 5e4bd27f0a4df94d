"""Runs the Alembic migrations from inside a program, and says beforehand what they would do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import alembic.command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dbstorage.database.catalog import read_tables
from dbstorage.database.engine import create_engine
from dbstorage.database.shape import refuse_columns
from dbstorage.database.sqlstate import ErrorClass, classify
from dbstorage.database.tables import OWN_SCHEMA
from dbstorage.database.url import DatabaseAddress
from dbstorage.errors import DatabaseNotReadyError, DatabaseUnavailableError


def upgrade(address: DatabaseAddress) -> None:
    """Bring the database to the newest revision; does nothing where it is there already.

    Raises DatabaseNotReadyError with one sentence when the migration refuses the tables it finds (nothing is changed
    then), DatabaseUnavailableError when PostgreSQL cannot be used.
    """
    configuration = _configuration()
    configuration.attributes["address"] = address
    alembic.command.upgrade(configuration, "head")


def describe(address: DatabaseAddress) -> list[str]:
    """Return a sentence for each thing `upgrade` would do, none when the database is up to date; changes nothing.

    Raises what `upgrade` would raise.
    """
    engine = create_engine(address, statement_timeout=30)
    try:
        with explained_errors(address), engine.connect() as connection:
            script = ScriptDirectory.from_config(_configuration())
            context = MigrationContext.configure(connection, opts={"version_table_schema": OWN_SCHEMA})
            found, first, newest = context.get_current_revision(), script.get_base(), script.get_current_head()
            if found == newest:
                return []
            if found is not None:
                return [f"Migrate from revision {found} to {newest}."]
            with refusals_explained():
                plan = _first_revision(script).plan_adoption(connection)
            steps = [*plan.sentences(), f'Create the schema "{OWN_SCHEMA}" with our own tables.']
            if first != newest:
                # What the tables lack by now, the later revisions may add.
                return [*steps, f"Migrate from revision {first} to {newest}."]
            refuse_tables(connection)
            return steps
    finally:
        engine.dispose()


def refuse_tables(connection: Connection) -> None:
    """Raise DatabaseNotReadyError where this version could not work with "User" and "Orders" as they are now."""
    refusal = refuse_columns(read_tables(connection))
    if refusal:
        raise DatabaseNotReadyError(refusal)


@contextmanager
def explained_errors(address: DatabaseAddress) -> Iterator[None]:
    """Turn errors of the driver into one sentence each."""
    try:
        yield
    except DBAPIError as error:
        reason = str(error.orig).strip().partition("\n")[0]
        if classify(error) is ErrorClass.OUTAGE:
            raise DatabaseUnavailableError(f"PostgreSQL at {address} cannot be used: {reason}.") from error
        raise DatabaseNotReadyError(f"PostgreSQL at {address} refused, and nothing was changed: {reason}.") from error


@contextmanager
def refusals_explained() -> Iterator[None]:
    """Turn what a revision refuses, in Alembic's own words because it knows nothing of ours, into DBStorageError."""
    try:
        yield
    except CommandError as error:
        raise DatabaseNotReadyError(str(error)) from error


def _first_revision(script: ScriptDirectory) -> Any:
    base = script.get_base()
    assert base is not None
    return script.get_revision(base).module


def configuration_file() -> Path:
    """Where alembic.ini is, with the scripts beside it: in an installed wheel within the package."""
    package = Path(__file__).resolve().parents[1]
    installed, checkout = package / "alembic.ini", package.parent / "alembic.ini"
    return installed if installed.exists() else checkout


def _configuration() -> Config:
    configuration = Config()
    scripts = configuration_file().with_name("migrations")
    configuration.set_main_option("script_location", str(scripts).replace("%", "%%"))
    return configuration
