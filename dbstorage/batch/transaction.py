"""Runs transactions: after a deadlock again at once; an outage and a fault of the database raise errors of our own."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from dbstorage.batch.resources import Resources
from dbstorage.database.deadline import NoReplyError
from dbstorage.database.engine import reading
from dbstorage.database.refusal import Blame
from dbstorage.database.sqlstate import (
    NOT_SUPPORTED,
    ErrorClass,
    classify,
    describe,
    diagnostics_of,
    is_lost,
    lost_reference,
)
from dbstorage.errors import (
    DatabaseFaultError,
    DatabaseNotReadyError,
    DatabaseUnavailableError,
    SessionLostError,
)
from dbstorage.storage.locks import find_table_holder, locked_by
from dbstorage.storage.outcome import Outcome, Retried
from dbstorage.storage.refused import Refused, examine
from dbstorage.storage.service import Applied, PositionGoneError
from dbstorage.storage.users import ConcurrentChangeError, KeptAwayError
from dbstorage.storage.work import Work

Result = TypeVar("Result")

#: Runs of one transaction that met a deadlock or another program's change, before it counts as an error.
MAXIMUM_RUNS = 10
#: Runs of one transaction that met a unique index of "User": a program that was faster is seen in the second.
MAXIMUM_RACES = 3


class Denial(NamedTuple):
    """A single work that the database refuses."""

    work: Work
    refused: Refused
    #: Whether it had only `HURRIED_TIMEOUT`.
    hurried: bool = False


class WriteResult(NamedTuple):
    """What one transaction did. An outcome is None where the record of the failed task was changed meanwhile."""

    outcomes: Sequence[Outcome | None]
    released: list[Retried]
    applied: Applied | None


class _TrialOver(Exception):
    """Raised to roll a trial back."""


def in_transaction(resources: Resources, run: Callable[[Connection], Result]) -> Result:
    """Run in one transaction; deadlocks and other programs' changes are met by running it again at once.

    Raises Refused where an entry may be to blame, DatabaseFaultError where the database is, DatabaseUnavailableError in
    an outage: SessionLostError where it began in the midst of this transaction.
    """
    return _run(resources, resources.engine.begin, run)


def without_transaction(resources: Resources, run: Callable[[Connection], Result]) -> Result:
    """Run what only reads and may see each statement's own state of the tables; raises as `in_transaction`."""
    return _run(resources, lambda: reading(resources.engine), run)


def tried(resources: Resources, run: Callable[[Connection], object]) -> Refused | None:
    """Run in a transaction that is rolled back; what refuses it. Raises as `in_transaction`, but not Refused."""

    def run_and_end(connection: Connection) -> None:
        run(connection)
        raise _TrialOver

    try:
        in_transaction(resources, run_and_end)
    except _TrialOver:
        pass
    except Refused as refused:
        return refused
    return None


def look(resources: Resources, find: Callable[[Connection], Result]) -> Result:
    """Find out something about the database itself; where it refuses that, it is to blame, as by DatabaseFaultError."""
    try:
        return in_transaction(resources, find)
    except Refused as refused:
        raise DatabaseFaultError(refused.sentence) from refused


def open_database(resources: Resources) -> None:
    """Make sure that this is the service's database.

    Raises OtherDatabaseError, DatabaseUnavailableError, and DatabaseFaultError where a table is locked.
    """
    if not resources.is_open:
        try:
            without_transaction(resources, resources.open)
        except Refused as refused:
            if refused.locked:
                raise DatabaseFaultError(locked_table(resources)) from refused
            raise DatabaseUnavailableError(refused.sentence) from refused
        except SessionLostError as lost:
            # Nothing of ours ran in it.
            raise DatabaseUnavailableError(str(lost)) from lost


def locked_table(resources: Resources) -> str:
    """The sentence on a table that is locked as a whole, with who holds the lock."""
    return locked_by(look(resources, find_table_holder))


def _run(
    resources: Resources,
    connect: Callable[[], AbstractContextManager[Connection]],
    run: Callable[[Connection], Result],
) -> Result:
    examined = False
    outages = losses = 0
    for attempt in range(1, MAXIMUM_RUNS + 1):
        last = attempt == MAXIMUM_RUNS
        connected = False
        try:
            with connect() as connection:
                connected = True
                return run(connection)
        except DatabaseNotReadyError as error:
            resources.forget_database()
            raise DatabaseFaultError(str(error)) from error
        except PositionGoneError:
            resources.open_anew()
            open_database(resources)
            return _run(resources, connect, run)
        except KeptAwayError as error:
            raise Refused(error, Blame.ENTRY) from error
        except ConcurrentChangeError as error:
            # There may be a new trigger or rule that keeps rows away.
            resources.forget_shape()
            if last:
                raise Refused(error) from error
        except SQLAlchemyError as error:
            verdict = classify(error)
            if verdict is ErrorClass.OUTAGE:
                was_open = resources.is_open
                resources.forget_database()
                outages += 1
                losses += connected and is_lost(error)
                # A single connection may have been cut while the server is well, so a new one is tried once. Not after
                # a silence, which has taken what time there was.
                if outages > 1 or isinstance(getattr(error, "orig", None), NoReplyError):
                    if losses > 1 and _answers(resources):
                        raise Refused(error) from error
                    raise _away(describe(error), lost=losses > 0) from error
                if was_open:
                    # Another server may answer by now, or this one as it was earlier.
                    _open_again(resources, lost=losses > 0)
            elif verdict is ErrorClass.LOCKED:
                raise Refused(error) from error
            elif last or not (_may_pass(error, verdict, attempt) or lost_reference(error)):
                # The tables may have changed under us: then it runs again, as they are now.
                if _changed(resources) and not (examined or last):
                    examined = True
                    continue
                refused = _examine(resources, error)
                if not (refused.may_be_a_race and attempt < MAXIMUM_RACES):
                    raise refused from error
    raise AssertionError("every run ends in a result or an error")


def _open_again(resources: Resources, *, lost: bool) -> None:
    try:
        open_database(resources)
    except DatabaseFaultError:
        raise
    except DatabaseUnavailableError as error:
        raise _away(str(error), lost=lost) from error


def _away(reason: str, *, lost: bool) -> DatabaseUnavailableError:
    return SessionLostError(reason) if lost else DatabaseUnavailableError(reason)


def _answers(resources: Resources) -> bool:
    """Whether the database, which has just ended session after session, answers in a new one."""
    try:
        with reading(resources.engine) as connection:
            connection.exec_driver_sql("SELECT 1")
    except SQLAlchemyError:
        return False
    return True


def _may_pass(error: SQLAlchemyError, verdict: ErrorClass, attempt: int) -> bool:
    """Whether the same again may pass; what PostgreSQL does not support, it will not support later."""
    return verdict is ErrorClass.AGAIN and not (diagnostics_of(error).sqlstate == NOT_SUPPORTED and attempt > 1)


def _changed(resources: Resources) -> bool:
    """Read the shape of the tables anew; tell whether it is another one."""
    before = resources.forget_shape()
    return before is not None and in_transaction(resources, resources.shape) != before


def _examine(resources: Resources, error: SQLAlchemyError) -> Refused:
    try:
        with resources.engine.begin() as connection:
            refused = examine(connection, resources.shape(connection), error)
    except DatabaseNotReadyError as not_ready:
        raise DatabaseFaultError(str(not_ready)) from error
    except SQLAlchemyError as another:
        # What cannot even be looked into is no entry's fault.
        if classify(another) is ErrorClass.OUTAGE:
            raise DatabaseUnavailableError(describe(another)) from error
        raise DatabaseFaultError(Refused(another, Blame.DATABASE).sentence) from error
    if refused.blame is Blame.DATABASE:
        raise DatabaseFaultError(refused.sentence) from error
    return refused
