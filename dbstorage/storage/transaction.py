"""Running writes so that one bad entry never fails its neighbours, and an outage fails nobody (SPEC 3)."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from dbstorage.database.deadline import NoReplyError
from dbstorage.database.engine import reading
from dbstorage.database.sqlstate import Verdict, classify, describe, lost_reference
from dbstorage.errors import DatabaseNotReadyError, DatabaseUnavailableError
from dbstorage.storage.failures import DATABASE_ERROR, keep
from dbstorage.storage.outcome import Outcome, Retried, Status
from dbstorage.storage.records import lock
from dbstorage.storage.resources import Resources
from dbstorage.storage.users import ConcurrentChangeError
from dbstorage.storage.work import Work
from dbstorage.storage.writes import write

Result = TypeVar("Result")

#: Runs of one transaction that met a deadlock or another program's change, before it counts as an error.
MAXIMUM_RUNS = 10
#: Seconds after which splitting a refused batch pauses; the rest is handed back, so that the worker can stop in time.
SPLITTING_SECONDS = 1.5


class Refused(Exception):
    """Raised when the database refuses a transaction for a reason that repeating it at once does not mend."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        wrong = classify(error) is Verdict.WRONG_ENTRY
        self.outcome = Outcome(
            Status.FAILED,
            "invalid_value" if wrong else DATABASE_ERROR,
            f"The database refused it: {describe(error)}",
        )


def in_transaction(resources: Resources, run: Callable[[Connection], Result]) -> Result:
    """Run in one transaction; deadlocks and other programs' changes are met by running it again at once.

    Raises Refused, or DatabaseUnavailableError in an outage, which includes a database that is not migrated.
    """
    return _run(resources, resources.engine.begin, run)


def without_transaction(resources: Resources, run: Callable[[Connection], Result]) -> Result:
    """Run what only reads and may see each statement's own state of the tables; raises as `in_transaction`."""
    return _run(resources, lambda: reading(resources.engine), run)


def _run(
    resources: Resources,
    connect: Callable[[], AbstractContextManager[Connection]],
    run: Callable[[Connection], Result],
) -> Result:
    reconnected = False
    for attempt in range(1, MAXIMUM_RUNS + 1):
        last = attempt == MAXIMUM_RUNS
        try:
            with connect() as connection:
                return run(connection)
        except DatabaseNotReadyError as error:
            resources.forget_database()
            raise DatabaseUnavailableError(str(error)) from error
        except ConcurrentChangeError as error:
            if last:
                raise Refused(error) from error
        except SQLAlchemyError as error:
            verdict = classify(error)
            if verdict is Verdict.OUTAGE:
                resources.forget_database()
                # A single connection may have been cut while the server is well, so a new one is tried once. Not after
                # a silence, which has taken what time there was.
                if reconnected or isinstance(getattr(error, "orig", None), NoReplyError):
                    raise DatabaseUnavailableError(describe(error)) from error
                reconnected = True
            elif last or not (verdict is Verdict.AGAIN or lost_reference(error)):
                if verdict is Verdict.OTHER:
                    resources.forget_shape()
                raise Refused(error) from error
    raise AssertionError("every run ends in a result or an error")


class BatchWriter:
    """Runs the writes of one pool job."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.deadline = time.monotonic() + SPLITTING_SECONDS
        self.splitting = False
        #: Orders that waited for a user of these batches, and what became of them.
        self.released: list[Retried] = []

    def run(self, works: Sequence[Work]) -> None:
        """Decide every work: its outcome is set once the transaction that holds it has committed.

        A batch that the database refuses is split until the culprit is alone. Works are left undecided when that takes
        too long. Raises DatabaseUnavailableError; what was decided by then stays decided.
        """
        if not works or (self.splitting and time.monotonic() > self.deadline):
            return
        try:
            outcomes, released = in_transaction(self.resources, lambda connection: self._write(connection, works))
        except Refused as refused:
            self.splitting = True
            if len(works) == 1:
                self.fail(works[0], refused.outcome)
                return
            middle = len(works) // 2
            self.run(works[:middle])
            self.run(works[middle:])
            return
        for work, outcome in zip(works, outcomes, strict=True):
            work.outcome = outcome
        self.released += released

    def _write(self, connection: Connection, works: Sequence[Work]) -> tuple[list[Outcome | None], list[Retried]]:
        service = self.resources.service(connection)
        mine = self._still_as_taken(connection, works)
        written = write(connection, self.resources.shape(connection), service, mine)
        decided = list(zip(mine, written.outcomes, strict=True))
        kept = keep(connection, service, decided, self.resources.settings.user_wait)
        if len(mine) == len(works):
            return [*kept], written.released
        outcome_of = {id(work): outcome for work, outcome in zip(mine, kept, strict=True)}
        return [outcome_of.get(id(work)) for work in works], written.released

    def _still_as_taken(self, connection: Connection, works: Sequence[Work]) -> Sequence[Work]:
        """Those works that are first attempts, or whose record nobody has changed meanwhile; records are locked."""
        records = [work.record for work in works if work.record is not None]
        if not records:
            return works
        locked = lock(connection, records)
        return [work for work in works if work.record is None or work.record.id in locked]

    def fail(self, work: Work, outcome: Outcome) -> None:
        """Record a work that cannot be stored. Raises DatabaseUnavailableError."""
        try:
            work.outcome = in_transaction(self.resources, lambda connection: self._keep(connection, work, outcome))
        except Refused as refused:
            # What cannot even be recorded has to stay pending, whatever the reason.
            raise DatabaseUnavailableError(f"A failure could not be recorded. {refused.outcome.message}") from refused

    def _keep(self, connection: Connection, work: Work, outcome: Outcome) -> Outcome | None:
        if not self._still_as_taken(connection, [work]):
            return None
        service = self.resources.service(connection)
        [kept] = keep(connection, service, [(work, outcome)], self.resources.settings.user_wait)
        return kept
