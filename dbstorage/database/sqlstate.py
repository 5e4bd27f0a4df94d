"""What happens next after a database error, told by its SQLSTATE."""

from enum import StrEnum
from typing import NamedTuple

import psycopg2
import psycopg2.errors
from sqlalchemy.exc import DBAPIError, TimeoutError

#: Where PL/pgSQL runs RAISE, in PostgreSQL's own source; in no way translated.
_RAISE = "exec_stmt_raise"


class ErrorClass(StrEnum):
    """What to do about an error, as far as its SQLSTATE alone tells."""

    #: Another transaction was in the way: run the transaction again at once.
    AGAIN = "again"
    #: The database cannot be used at the moment: wait and try again, no attempt is counted.
    OUTAGE = "outage"
    #: Somebody else holds a lock for longer than we wait for it.
    LOCKED = "locked"
    #: PostgreSQL refuses; whose fault that is, `dbstorage.database.refusal` tells.
    REFUSED = "refused"


#: Here it mostly means that a statement was prepared before its table was altered: running it again helps.
NOT_SUPPORTED = "0A000"
DISK_FULL = "53100"

#: The longest prefix that matches decides, everything else is REFUSED. Sources: PostgreSQL manual, appendix A.
ERROR_CLASSES: dict[str, ErrorClass] = {
    "40": ErrorClass.AGAIN,  # serialization failure, deadlock detected, completion unknown
    "40002": ErrorClass.REFUSED,  # a constraint refuses the transaction
    NOT_SUPPORTED: ErrorClass.AGAIN,
    "55P03": ErrorClass.LOCKED,  # the lock timeout
    "08": ErrorClass.OUTAGE,  # connection exception
    "25006": ErrorClass.OUTAGE,  # read-only transaction: a standby, or a server in read-only mode
    "25P03": ErrorClass.OUTAGE,  # the server ended the session, idle in its transaction for too long
    "25P04": ErrorClass.OUTAGE,  # the server ended the session, its transaction took too long
    "28": ErrorClass.OUTAGE,  # invalid authorization: somebody changes passwords or pg_hba.conf
    "3D000": ErrorClass.OUTAGE,  # the database is not there: being restored or renamed
    "53": ErrorClass.OUTAGE,  # insufficient resources: disk full, out of memory, too many connections
    "57": ErrorClass.OUTAGE,  # shutdown, crash of another session, starting up, database dropped
    "57014": ErrorClass.REFUSED,  # the statement timeout: the statement may be what takes so long
}

#: What a pooler says that takes no settings at connect, and what helps.
_STARTUP_PARAMETER = "unsupported startup parameter"
_BEHIND_PGBOUNCER = "behind PgBouncer, DATABASE_URL needs the parameter pgbouncer=true"


class Diagnostics(NamedTuple):
    """What PostgreSQL says of an error; empty texts where it does not say."""

    sqlstate: str = ""
    message: str = ""
    #: Set where the error was raised within a function or a trigger: what they do is not ours.
    context: str = ""
    schema: str = ""
    table: str = ""
    column: str = ""
    #: A constraint, or a unique index.
    constraint: str = ""
    #: A function's own RAISE: its author chose the SQLSTATE, which says nothing about the server.
    raised: bool = False


def classify(error: BaseException) -> ErrorClass:
    """Sort an error of SQLAlchemy or psycopg2; an error of anything else is REFUSED."""
    connection_lost = False
    if isinstance(error, DBAPIError):
        connection_lost = error.connection_invalidated
        error = error.orig or error
    if isinstance(error, TimeoutError):
        # Other threads held all connections for too long, and the fault is in what they wait for.
        return ErrorClass.OUTAGE
    if not isinstance(error, psycopg2.Error):
        return ErrorClass.REFUSED
    if error.pgcode:
        verdict = _by_sqlstate(error.pgcode)
        if _raised(error) and verdict is not ErrorClass.AGAIN:
            verdict = ErrorClass.REFUSED
        if verdict is ErrorClass.OUTAGE and _met_by_function(error):
            verdict = ErrorClass.REFUSED
        return ErrorClass.OUTAGE if connection_lost and verdict is ErrorClass.REFUSED else verdict
    # No SQLSTATE: the driver speaks, not the server, and mostly about the connection.
    if isinstance(error, psycopg2.DataError | psycopg2.IntegrityError):
        return ErrorClass.REFUSED
    if isinstance(error, psycopg2.ProgrammingError | psycopg2.NotSupportedError) and not connection_lost:
        return ErrorClass.REFUSED
    return ErrorClass.OUTAGE


def diagnostics_of(error: BaseException) -> Diagnostics:
    """What PostgreSQL says of an error of SQLAlchemy or psycopg2."""
    cause = getattr(error, "orig", None) or error
    if not isinstance(cause, psycopg2.Error):
        return Diagnostics(message=str(cause))
    said = cause.diag
    return Diagnostics(
        cause.pgcode or "",
        said.message_primary or str(cause).strip(),
        said.context or "",
        said.schema_name or "",
        said.table_name or "",
        said.column_name or "",
        said.constraint_name or "",
        _raised(cause),
    )


def is_data_exception(error: BaseException) -> bool:
    """Whether a value cannot be what the database wants it to be."""
    return diagnostics_of(error).sqlstate.startswith("22")


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone with this error."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def lost_reference(error: BaseException) -> bool:
    """Whether a row that we refer to vanished between looking for it and writing: running it again finds it gone."""
    error = getattr(error, "orig", None) or error
    # A trigger may raise the same SQLSTATE, but names no constraint.
    return isinstance(error, psycopg2.errors.ForeignKeyViolation) and error.diag.constraint_name is not None


def describe(error: BaseException) -> str:
    """One line on a database error, with its SQLSTATE; without the DETAIL, which may quote an e-mail address."""
    cause = getattr(error, "orig", None) or error
    primary = cause.diag.message_primary if isinstance(cause, psycopg2.Error) else None
    lines = (primary or str(cause)).strip().splitlines()
    sqlstate = getattr(cause, "pgcode", None)
    hint = f"; {_BEHIND_PGBOUNCER}" if _STARTUP_PARAMETER in str(cause) else ""
    return f"{lines[0] if lines else type(cause).__name__}{f' (SQLSTATE {sqlstate})' if sqlstate else ''}{hint}"


def _raised(error: psycopg2.Error) -> bool:
    return error.diag.source_function == _RAISE


def _met_by_function(error: psycopg2.Error) -> bool:
    """Whether a function or a trigger ran out of something, or could not reach a server of its own.

    The session goes on. A full disk is everybody's, whoever meets it first.
    """
    goes_on = error.diag.severity_nonlocalized == "ERROR"
    return goes_on and bool(error.diag.context) and error.pgcode != DISK_FULL


def _by_sqlstate(sqlstate: str) -> ErrorClass:
    for length in (5, 3, 2):
        verdict = ERROR_CLASSES.get(sqlstate[:length])
        if verdict is not None:
            return verdict
    return ErrorClass.REFUSED
