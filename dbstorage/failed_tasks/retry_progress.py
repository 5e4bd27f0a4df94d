"""The progress of a retry: how many of its tasks are done, and with which result."""

from collections import Counter
from collections.abc import Mapping, Sequence

from sqlalchemy import ARRAY, BigInteger, Connection, bindparam, func, select

from dbstorage.database.tables import failed_tasks
from dbstorage.failed_tasks.filters import State
from dbstorage.settings import Scope

_WORDS = {
    State.RESOLVED: "stored",
    State.FAILED: "failed again",
    State.DISCARDED: "discarded",
    State.RETRYING: "still to be tried",
}


class Followed:
    """The tasks of a retry. Each counts once, by its first state that is not `retrying`."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._ended: Counter[State] = Counter()
        #: How many there are, and how many of them were cancelled.
        self.number = self.cancelled = 0

    def add(self, ids: Sequence[int]) -> None:
        """Add tasks that were retried."""
        self._open.update(ids)
        self.number += len(ids)

    def cancel(self, ids: Sequence[int]) -> None:
        """Note that these were cancelled before they were tried."""
        self.cancelled += len(self._open.intersection(ids))
        self._open.difference_update(ids)

    @property
    def open_ids(self) -> tuple[int, ...]:
        """Those that are still to be tried."""
        return tuple(self._open)

    @property
    def left(self) -> int:
        """How many are still to be tried."""
        return len(self._open)

    @property
    def states(self) -> Counter[State]:
        """How many are in which state; those whose record was deleted are in none."""
        return self._ended + Counter({State.RETRYING: self.left})

    def look(self, connection: Connection, scope: Scope) -> None:
        """Look up the states of the tasks that are left."""
        if not self._open:
            return
        table = failed_tasks.c
        ids = bindparam("ids", sorted(self._open), ARRAY(BigInteger))
        statement = select(table.id, table.state).where(
            table.stream == scope.stream, table.consumer_group == scope.group, table.id == func.any(ids)
        )
        found = {row.id: State(row.state) for row in connection.execute(statement)}
        connection.rollback()  # who waits asks again
        self._ended.update(state for state in found.values() if state is not State.RETRYING)
        self._open = {number for number, state in found.items() if state is State.RETRYING}


def in_words(states: Mapping[State, int], number: int, cancelled: int = 0) -> str:
    """The result as a sentence: `4,972 retried: 12 stored, 4,960 failed again.`"""
    parts = [f"{states[state]:,} {word}" for state, word in _WORDS.items() if states.get(state)]
    if cancelled:
        parts.append(f"{cancelled:,} cancelled")
    return f"{number:,} retried: {', '.join(parts) or 'their records are deleted'}."
