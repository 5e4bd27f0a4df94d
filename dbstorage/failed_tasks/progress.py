"""How far the retry of failed tasks is."""

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import ARRAY, BigInteger, Connection, bindparam, func, select

from dbstorage.database.tables import failed_tasks
from dbstorage.failed_tasks.filters import State
from dbstorage.settings import Scope


def count_states(connection: Connection, scope: Scope, ids: Sequence[int]) -> Counter[State]:
    """How many of these tasks are in which state by now."""
    table = failed_tasks.c
    statement = (
        select(table.state, func.count())
        .where(table.stream == scope.stream, table.consumer_group == scope.group)
        .where(table.id == func.any(bindparam("ids", list(ids), ARRAY(BigInteger))))
        .group_by(table.state)
    )
    found = Counter({State(state): number for state, number in connection.execute(statement)})
    connection.rollback()  # who waits asks again
    return found
