"""Failed tasks by what they have in common: the code with the sentence, or with the user."""

from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, select

from dbstorage.database.tables import failed_tasks
from dbstorage.failed_tasks.filters import Filter, general_sentence
from dbstorage.failed_tasks.lookup import of_scope
from dbstorage.settings import Scope

#: How many groups are shown, the largest ones.
MOST_GROUPS = 100


class By(StrEnum):
    """What a group has in common beside its code."""

    SENTENCE = "sentence"
    USER = "user"


class Group(NamedTuple):
    """Tasks with the same code and the same `what`: a sentence without the values in it, or a user's id."""

    code: str
    #: None where the tasks have no user.
    what: str | None
    number: int
    first_failed_at: datetime
    last_failed_at: datetime


def find_groups(connection: Connection, scope: Scope, which: Filter, by: By, most: int = MOST_GROUPS) -> list[Group]:
    """The tasks that match as groups, the largest first."""
    table = failed_tasks.c
    label: ColumnElement[Any] = general_sentence(table.message) if by is By.SENTENCE else table.user_id
    what = label.label("what")
    statement = (
        select(
            table.code,
            what,
            func.count(),
            func.min(table.first_failed_at),
            func.max(table.last_failed_at),
        )
        .where(*of_scope(scope), *which.conditions())
        .group_by(table.code, what)
        .order_by(func.count().desc(), table.code, what)
        .limit(most)
    )
    return [Group(*row) for row in connection.execute(statement)]
