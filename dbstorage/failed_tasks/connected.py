"""Database connections for operators' tools: whatever is wrong with the database becomes one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from dbstorage.database.sqlstate import ErrorClass, classify, describe
from dbstorage.errors import DatabaseNotReadyError, DatabaseUnavailableError, LockedError
from dbstorage.storage.locks import name_lock

#: SQLSTATEs of a schema or table that is not there, and of a statement that took too long.
NOT_MIGRATED = ("3F000", "42P01")
TOO_SLOW = "57014"


@contextmanager
def lock_named(engine: Engine) -> Iterator[Connection]:
    """A connection; raises LockedError with a sentence where another session holds a lock, else SQLAlchemyError."""
    with engine.connect() as connection:
        try:
            yield connection
        except DBAPIError as error:
            if classify(error) is not ErrorClass.LOCKED:
                raise
            connection.rollback()
            sentence = f"{name_lock(connection)}; try again when its transaction ends."
            raise LockedError(sentence) from error


@contextmanager
def connected(engine: Engine) -> Iterator[Connection]:
    """As `lock_named`; raises DatabaseUnavailableError or DatabaseNotReadyError with a sentence for everything else."""
    try:
        with lock_named(engine) as connection:
            yield connection
    except SQLAlchemyError as error:
        sqlstate = getattr(error.orig, "pgcode", None) if isinstance(error, DBAPIError) else None
        if sqlstate in NOT_MIGRATED:
            sentence = "The database is not migrated: `dbstorage migrate` creates the table of failed tasks."
            raise DatabaseNotReadyError(sentence) from error
        if sqlstate == TOO_SLOW:
            sentence = "The database did not finish in time: it is busy, or the filter matches too much."
        elif classify(error) is ErrorClass.OUTAGE:
            sentence = f"The database cannot be used: {describe(error)}."
        else:
            sentence = f"The database refused the query: {describe(error)}."
        raise DatabaseUnavailableError(sentence) from error
