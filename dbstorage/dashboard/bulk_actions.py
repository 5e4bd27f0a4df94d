"""Actions of operators on many tasks: their progress, and cancelling them. On the page and in here one is called a job.

A job lives in Flower's memory. When Flower ends, what was changed stays changed, and workers go on with the retries.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection

from dbstorage.dashboard.database import Database
from dbstorage.errors import DBStorageError
from dbstorage.failed_tasks.changes import Change, Progress, apply
from dbstorage.failed_tasks.edit import EDIT
from dbstorage.failed_tasks.filters import Filter, State
from dbstorage.failed_tasks.retry_progress import Followed, in_words

logger = logging.getLogger(__name__)

#: The most jobs that are remembered; the oldest are forgotten first.
MOST_JOBS = 100
#: Seconds for which a job that has ended is still shown.
TOLD_SECONDS = 60.0

#: Changes tasks on the connection, and calls back with the ids of each part.
Run = Callable[[Connection, Progress], object]


class Cancelled(Exception):  # nothing went wrong
    """Raised in a job that somebody cancels."""


class BulkAction:
    """One action on any number of tasks, and its progress."""

    def __init__(self, number: int, what: str, who: str, matched: int) -> None:
        self.number = number
        self.what = what
        self.who = who
        #: How many tasks matched when the operator was asked.
        self.matched = matched
        self.followed = Followed()
        self.is_stopped = False
        self.problem: str | None = None
        self.applied: asyncio.Future[None] | None = None
        self.looking = asyncio.Lock()
        self._began = time.monotonic()
        self._ended: float | None = None

    @property
    def is_retry(self) -> bool:
        """Whether workers run the tasks, so that there is something to follow."""
        return self.what in (Change.RETRY, EDIT)

    @property
    def is_applying(self) -> bool:
        """Whether tasks are still being changed."""
        return self.applied is not None and not self.applied.done()

    @property
    def ended_ago(self) -> float | None:
        """Seconds since it ended; None where it has not."""
        return None if self._ended is None else time.monotonic() - self._ended

    def note_end(self) -> None:
        """Remember the moment of its end, if it has ended."""
        if self._ended is None and not self.is_applying and not (self.is_retry and self.followed.left):
            self._ended = time.monotonic()

    def as_json(self) -> dict[str, Any]:
        """What the page shows of it, as JSON takes it."""
        followed = self.followed
        states = followed.states
        left = followed.left if self.is_retry else 0
        seconds = (self._ended or time.monotonic()) - self._began
        done = followed.number if self.is_applying else followed.number - left
        return {
            "job": self.number,
            "what": self.what,
            "who": self.who,
            "matched": self.matched,
            "changed": followed.number,
            "applying": self.is_applying,
            "ended": self._ended is not None,
            "done": done,
            "left": left,
            "stored": states[State.RESOLVED] if self.is_retry else 0,
            "failed_again": states[State.FAILED] if self.is_retry else 0,
            "rate": done / seconds if seconds > 0 else None,
            "sentence": self._sentence(),
        }

    def _sentence(self) -> str:
        if self.is_retry:
            said = in_words(self.followed.states, self.followed.number, self.followed.cancelled)
        else:
            number, done = self.followed.number, Change(self.what).done
            said = f"{number:,} {'task is' if number == 1 else 'tasks are'} {done}."
        if self.is_stopped and self.followed.number < self.matched:
            said += f" Cancelled; {self.matched - self.followed.number:,} are as before."
        return said if self.problem is None else f"{said} {self.problem}"


class BulkActions:
    """The jobs of this Flower."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._jobs: dict[int, BulkAction] = {}
        self._numbers = itertools.count(1)

    def get(self, number: int) -> BulkAction | None:
        """The job of this number."""
        return self._jobs.get(number)

    def start(self, what: str, who: str, matched: int, run: Run) -> BulkAction:
        """Start a job."""
        job = BulkAction(next(self._numbers), what, who, matched)
        self._jobs[job.number] = job
        while len(self._jobs) > MOST_JOBS:
            del self._jobs[next(iter(self._jobs))]
        job.applied = asyncio.ensure_future(self._apply(job, run))
        return job

    async def told(self) -> list[BulkAction]:
        """The jobs that run, and those that ended within the last minute, with their present progress."""
        told = [job for job in self._jobs.values() if (job.ended_ago or 0.0) < TOLD_SECONDS]
        for job in told:
            await self._look(job)
        return told

    async def cancel(self, job: BulkAction, who: str) -> None:
        """Stop changing tasks; retries that have not run yet become `failed` again. Raises DBStorageError."""
        job.is_stopped = True
        if job.applied is not None:
            await job.applied
        async with job.looking:
            ids = job.followed.open_ids if job.is_retry else ()
            # Without ids, a filter would mean every task.
            if ids:
                told = {"cancels": job.what, "job of": job.who}
                await self.database.run_long(
                    lambda connection: apply(
                        connection,
                        self.database.scope,
                        Filter(ids=ids),
                        Change.CANCEL,
                        who=who,
                        described=told,
                        progress=job.followed.cancel,
                    )
                )
        job.note_end()

    async def _apply(self, job: BulkAction, run: Run) -> None:
        def progress(ids: Sequence[int]) -> None:
            job.followed.add(ids)
            if job.is_stopped:
                raise Cancelled

        try:
            await self.database.run_long(lambda connection: run(connection, progress))
        except Cancelled:
            pass
        except DBStorageError as error:
            job.problem = str(error)
        except Exception:
            logger.exception("A change of failed tasks met a bug")
            job.problem = "It met a bug: Flower's log says what."

    async def _look(self, job: BulkAction) -> None:
        if job.is_applying or not job.is_retry:
            job.note_end()
            return
        async with job.looking:
            await self.database.run(lambda connection: job.followed.look(connection, self.database.scope))
        job.note_end()
