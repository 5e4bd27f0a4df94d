"""Bulk actions: what operators do with many failed tasks at once. Here are their progress and their cancelling.

They live in Flower's memory. When Flower ends, what was changed stays changed, and workers go on with the retries.
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

#: The most actions that are remembered; the oldest are forgotten first.
MOST_ACTIONS = 100
#: Seconds for which an action that has ended is still shown.
TOLD_SECONDS = 60.0

#: Changes tasks on the connection, and calls back with the ids of each part.
Run = Callable[[Connection, Progress], object]


class Cancelled(Exception):  # nothing went wrong
    """Raised in an action that somebody cancels."""


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
            "action": self.number,
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
    """The actions of this Flower."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._actions: dict[int, BulkAction] = {}
        self._numbers = itertools.count(1)

    def get(self, number: int) -> BulkAction | None:
        """The action of this number."""
        return self._actions.get(number)

    def start(self, what: str, who: str, matched: int, run: Run) -> BulkAction:
        """Start an action."""
        action = BulkAction(next(self._numbers), what, who, matched)
        self._actions[action.number] = action
        while len(self._actions) > MOST_ACTIONS:
            del self._actions[next(iter(self._actions))]
        action.applied = asyncio.ensure_future(self._apply(action, run))
        return action

    async def told(self) -> list[BulkAction]:
        """The actions that run, and those that ended within the last minute, with their present progress."""
        told = [action for action in self._actions.values() if (action.ended_ago or 0.0) < TOLD_SECONDS]
        for action in told:
            await self._look(action)
        return told

    async def cancel(self, action: BulkAction, who: str) -> None:
        """Stop changing tasks; retries that have not run yet become `failed` again. Raises DBStorageError."""
        action.is_stopped = True
        if action.applied is not None:
            await action.applied
        async with action.looking:
            ids = action.followed.open_ids if action.is_retry else ()
            # Without ids, a filter would mean every task.
            if ids:
                told = {"cancels": action.what, "started by": action.who}
                await self.database.run_long(
                    lambda connection: apply(
                        connection,
                        self.database.scope,
                        Filter(ids=ids),
                        Change.CANCEL,
                        who=who,
                        described=told,
                        progress=action.followed.cancel,
                    )
                )
        action.note_end()

    async def _apply(self, action: BulkAction, run: Run) -> None:
        def progress(ids: Sequence[int]) -> None:
            action.followed.add(ids)
            if action.is_stopped:
                raise Cancelled

        try:
            await self.database.run_long(lambda connection: run(connection, progress))
        except Cancelled:
            pass
        except DBStorageError as error:
            action.problem = str(error)
        except Exception:
            logger.exception("A bulk action on failed tasks ended with a bug.")
            action.problem = "It ended with a bug: Flower's log says where."

    async def _look(self, action: BulkAction) -> None:
        if action.is_applying or not action.is_retry:
            action.note_end()
            return
        async with action.looking:
            await self.database.run(lambda connection: action.followed.look(connection, self.database.scope))
        action.note_end()
