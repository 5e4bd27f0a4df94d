"""The sweep: runs failed tasks whose next attempt is due, many at a time, with the code that runs entries.

The table alone knows of them: the broker is not needed, and two workers that sweep at once share the work.
"""

import traceback
from collections.abc import Sequence
from contextlib import suppress

from dbstorage.batch.alone import POISON_DEATHS, begin_alone, end_alone, try_recording
from dbstorage.batch.batch_writer import BatchWriter
from dbstorage.batch.job import bug
from dbstorage.batch.outages import outage_of
from dbstorage.batch.resources import Resources, resources_of
from dbstorage.batch.segments import segments
from dbstorage.batch.transaction import locked_table, open_database, without_transaction
from dbstorage.codes import POISON
from dbstorage.commands.registry import kept_functions
from dbstorage.errors import (
    DatabaseFaultError,
    DatabaseUnavailableError,
    DBStorageError,
    RedisUnavailableError,
    SessionLostError,
)
from dbstorage.failed_tasks.whole import with_whole_entry
from dbstorage.settings import Settings
from dbstorage.storage.failures import retried
from dbstorage.storage.outcome import Outage, Outcome, Report, Status
from dbstorage.storage.refused import Refused
from dbstorage.storage.retries import Due, due
from dbstorage.storage.work import Work

#: Tasks that one job runs.
MOST_AT_ONCE = 500
#: Tasks that one job runs after a process died of a sweep: one by one, each in a transaction of its own.
MOST_ALONE = 50
#: The name under which the start of a sweep is counted in Redis until it ends: a count that is left shows a death.
SWEEP = "sweep"
POISONED = Outcome(
    Status.FAILED,
    POISON,
    f"The process that ran this task, or the database, died {POISON_DEATHS} times. "
    "Look for what kills it before another retry.",
)


def run_due(settings: Settings) -> Report:
    """What a pool process runs: the tasks that are due by now; never raises.

    The report's `retried` says what became of them, and `more` that others are due. What was left undone stays due.
    """
    sweep = Sweep(resources_of(settings))
    outage: Outage | None = None
    reason = crash = ""
    try:
        sweep.run()
    except (DatabaseUnavailableError, RedisUnavailableError) as error:
        outage, reason = outage_of(error), str(error)
    except Exception:  # noqa: BLE001
        # A bug of ours: the next job runs the tasks one by one, and so finds the one that meets it.
        crash = traceback.format_exc()
    done = [retried(work, work.outcome) for work in sweep.works if work.outcome is not None]
    more = outage is None and not crash and sweep.is_full and bool(done)
    return Report([], [], outage, reason, crash, retried=[*done, *sweep.writer.released], more=more)


class Sweep:
    """The failed tasks of one job."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.settings = resources.settings
        self.writer = BatchWriter(resources)
        self.works: list[Work] = []
        self.is_full = False

    def run(self) -> None:
        """Run what is due. Raises DatabaseUnavailableError and RedisUnavailableError."""
        open_database(self.resources)
        tasks = self._due(MOST_AT_ONCE)
        if not tasks:
            return
        try:
            # Counted before any task is decoded: a job that dies of a task, or of a bug, leaves its count behind.
            if begin_alone(self.resources.redis, self.settings, SWEEP) == 0:
                self._run_together(tasks)
            else:
                self._run_one_by_one(tasks)
        except SessionLostError:
            # The database may have died of a task. The count stays, as if this process had.
            raise
        except DBStorageError:
            self._end(SWEEP)
            raise
        self._end(SWEEP)

    def _run_together(self, tasks: Sequence[Due]) -> None:
        self.is_full = len(tasks) == MOST_AT_ONCE
        works = [task.understood(self.settings.history_limit) for task in tasks]
        self.works = [whole for work in works if (whole := with_whole_entry(self.resources, work)) is not None]
        for segment in segments(self.resources, self.works):
            self.writer.run(segment)

    def _run_one_by_one(self, tasks: Sequence[Due]) -> None:
        self.is_full = len(tasks) > MOST_ALONE
        for task in tasks[:MOST_ALONE]:
            name = f"failed-task:{task.record_id}"
            try_recording(self.writer, task.not_understood())
            try:
                self._run_alone(task, name)
            except SessionLostError:
                raise
            except BaseException:
                self._end(name)
                raise
            self._end(name)

    def _due(self, most: int) -> list[Due]:
        try:
            return without_transaction(
                self.resources,
                lambda connection: due(connection, self.resources.service(connection), kept_functions(), most),
            )
        except Refused as refused:
            sentence = locked_table(self.resources) if refused.locked else refused.sentence
            raise DatabaseFaultError(sentence) from refused

    def _run_alone(self, task: Due, name: str) -> None:
        if begin_alone(self.resources.redis, self.settings, name) >= POISON_DEATHS:
            self._fail(task.not_understood(), POISONED)
            return
        try:
            work = task.understood(self.settings.history_limit)
        except Exception as error:  # noqa: BLE001
            self._fail(task.not_understood(), bug(error))
            return
        self.works.append(work)
        try:
            work = self.works[-1] = with_whole_entry(self.resources, work) or work
            self.writer.run([work])
        except DBStorageError:
            raise
        except Exception as error:  # noqa: BLE001
            self.writer.fail(work, bug(error))

    def _fail(self, work: Work, outcome: Outcome) -> None:
        self.works.append(work)
        self.writer.fail(work, outcome)

    def _end(self, name: str) -> None:
        # If the count stays, the next job runs its tasks one by one, which does no harm.
        with suppress(RedisUnavailableError):
            end_alone(self.resources.redis, self.settings, name)
