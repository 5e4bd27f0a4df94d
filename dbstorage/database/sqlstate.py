"""What happens next after a database error, told by its SQLSTATE."""

from enum import StrEnum

import psycopg2
import psycopg2.errors
from sqlalchemy.exc import DBAPIError, TimeoutError


class Verdict(StrEnum):
    """How an error is answered."""

    #: The data of this entry is refused and always will be: it fails at once.
    WRONG_ENTRY = "wrong_entry"
    #: Another transaction was in the way: the same again at once.
    AGAIN = "again"
    #: The database cannot be used at the moment: wait and try again, no attempt is counted.
    OUTAGE = "outage"
    #: Anything else: a few attempts, then failed.
    OTHER = "other"


#: The longest prefix that matches decides. Sources: PostgreSQL manual, appendix A.
VERDICTS: dict[str, Verdict] = {
    "22": Verdict.WRONG_ENTRY,  # data exception
    "23": Verdict.WRONG_ENTRY,  # integrity constraint violation
    "40001": Verdict.AGAIN,  # serialization failure
    "40P01": Verdict.AGAIN,  # deadlock detected
    "0A000": Verdict.AGAIN,  # of what can happen here: a statement was prepared before its table was altered
    "08": Verdict.OUTAGE,  # connection exception
    "25006": Verdict.OUTAGE,  # read-only transaction: a standby, or a server in read-only mode
    "25P03": Verdict.OUTAGE,  # the server ended the session, idle in its transaction for too long
    "28": Verdict.OUTAGE,  # invalid authorization: somebody changes passwords or pg_hba.conf
    "3D000": Verdict.OUTAGE,  # the database is not there: being restored or renamed
    "53": Verdict.OUTAGE,  # insufficient resources: disk full, out of memory, too many connections
    "57P": Verdict.OUTAGE,  # shutdown, crash of another session, starting up, database dropped
}


def classify(error: BaseException) -> Verdict:
    """Sort an error of SQLAlchemy or psycopg2; an error of anything else is OTHER."""
    connection_lost = False
    if isinstance(error, DBAPIError):
        connection_lost = error.connection_invalidated
        error = error.orig or error
    if isinstance(error, TimeoutError):
        # Other threads held all connections for too long: what they wait for is what is wrong.
        return Verdict.OUTAGE
    if not isinstance(error, psycopg2.Error):
        return Verdict.OTHER
    if error.pgcode:
        verdict = _by_sqlstate(error.pgcode)
        return Verdict.OUTAGE if connection_lost and verdict is Verdict.OTHER else verdict
    # No SQLSTATE: the driver speaks, not the server, and mostly about the connection.
    if isinstance(error, psycopg2.DataError | psycopg2.IntegrityError):
        return Verdict.WRONG_ENTRY
    if isinstance(error, psycopg2.ProgrammingError | psycopg2.NotSupportedError) and not connection_lost:
        return Verdict.OTHER
    return Verdict.OUTAGE


def lost_reference(error: BaseException) -> bool:
    """Whether a row that we refer to vanished between looking for it and writing: the same again finds it gone."""
    error = getattr(error, "orig", None) or error
    # A trigger may raise the same SQLSTATE, but names no constraint.
    return isinstance(error, psycopg2.errors.ForeignKeyViolation) and error.diag.constraint_name is not None


def describe(error: BaseException) -> str:
    """One line on a database error, with its SQLSTATE; without the DETAIL, which may quote an e-mail address."""
    cause = getattr(error, "orig", None) or error
    primary = cause.diag.message_primary if isinstance(cause, psycopg2.Error) else None
    lines = (primary or str(cause)).strip().splitlines()
    sqlstate = getattr(cause, "pgcode", None)
    return f"{lines[0] if lines else type(cause).__name__}{f' (SQLSTATE {sqlstate})' if sqlstate else ''}"


def _by_sqlstate(sqlstate: str) -> Verdict:
    for length in (5, 3, 2):
        verdict = VERDICTS.get(sqlstate[:length])
        if verdict is not None:
            return verdict
    return Verdict.OTHER
