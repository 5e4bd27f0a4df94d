"""Database connections for operators' tools: whatever is wrong with the database becomes one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from dbstorage.database.sqlstate import ErrorClass, classify, describe
from dbstorage.errors import DatabaseNotReadyError, DatabaseUnavailableError
from dbstorage.storage.locks import find_table_holder

#: SQLSTATEs of a schema or table that is not there, and of a statement that took too long.
NOT_MIGRATED = ("3F000", "42P01")
TOO_SLOW = "57014"


@contextmanager
def connected(engine: Engine) -> Iterator[Connection]:
    """A connection; raises DatabaseUnavailableError or DatabaseNotReadyError with a sentence."""
    try:
        with engine.connect() as connection:
            try:
                yield connection
            except DBAPIError as error:
                if classify(error) is not ErrorClass.LOCKED:
                    raise
                connection.rollback()
                sentence = f"A table is locked by {find_table_holder(connection)}; try again when its transaction ends."
                raise DatabaseUnavailableError(sentence) from error
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
