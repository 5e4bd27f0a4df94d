"""What became of entries that were sent: acknowledged, answered, failed."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

from redis import Redis
from redis.exceptions import ResponseError
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import DBAPIError

from dbstorage.database.sqlstate import describe
from dbstorage.database.tables import failed_tasks
from dbstorage.errors import DatabaseUnavailableError
from dbstorage.failed_tasks.connected import lock_named
from dbstorage.redis_access.explained import is_not_there, redis_errors_explained
from dbstorage.settings import Scope, Settings
from dbstorage.traffic.answer_reader import AnswerReader
from dbstorage.traffic.sending import Sent
from dbstorage.wire.entry_id import position_of

#: Entry ids that one statement looks for.
IDS_AT_ONCE = 10_000


class FailedCount(NamedTuple):
    """How many entries of a state (`failed` or `retrying`) have this code."""

    state: str
    code: str
    entries: int


class AnswerCount:
    """Counts the questions that were answered with their own requestId."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        """Begin before the questions are written; raises RedisUnavailableError."""
        self._answers = AnswerReader(redis, settings.response_stream)
        self._request_ids: dict[str, str | None] = {}

    def read(self) -> None:
        """Take the answers that have come; call it often, because the response stream is trimmed."""
        for answer in self._answers.read():
            if answer.in_reply_to is not None:
                self._request_ids[answer.in_reply_to] = answer.request_id

    def count(self, sent: Sent) -> int:
        """How many of the questions that were sent are answered."""
        answers = self._request_ids
        return sum(entry_id in answers and answers[entry_id] == asked for entry_id, asked in sent.questions.items())


def count_acknowledged(redis: Redis, settings: Settings, entry_ids: Sequence[str]) -> int:
    """How many of these entries, given in stream order, the consumer group has acknowledged.

    Pending entries of others that stand between them count as theirs. Raises RedisUnavailableError.
    """
    with redis_errors_explained():
        try:
            groups: Any = redis.xinfo_groups(settings.command_stream)
            group = next((group for group in groups if group["name"].decode() == settings.consumer_group), None)
            if group is None:
                return 0
            last_delivered = position_of(group["last-delivered-id"].decode())
            delivered = bisect_right(entry_ids, last_delivered, key=position_of)
            if not delivered:
                return 0
            first, last = entry_ids[0], entry_ids[delivered - 1]
            pending = redis.xpending_range(settings.command_stream, settings.consumer_group, first, last, delivered)
        except ResponseError as error:
            # Deleted meanwhile: a worker makes the group again.
            if is_not_there(error):
                return 0
            raise
    return max(0, delivered - len(pending))


def count_failed(engine: Engine, scope: Scope, entry_ids: Sequence[str]) -> list[FailedCount]:
    """How many of these entries have failed or wait for another attempt, by code.

    Raises DatabaseUnavailableError; LockedError, which is one, where the table is locked.
    """
    counts: dict[tuple[str, str], int] = {}
    columns = (failed_tasks.c.state, failed_tasks.c.code)
    statement = select(*columns, func.count()).where(
        failed_tasks.c.stream == scope.stream,
        failed_tasks.c.consumer_group == scope.group,
        failed_tasks.c.state.in_(("failed", "retrying")),
    )
    try:
        with lock_named(engine) as connection:
            for start in range(0, len(entry_ids), IDS_AT_ONCE):
                some = list(entry_ids[start : start + IDS_AT_ONCE])
                of_entries = statement.where(failed_tasks.c.entry_id == func.any(some)).group_by(*columns)
                for state, code, count in connection.execute(of_entries):
                    counts[state, code] = counts.get((state, code), 0) + count
    except DBAPIError as error:
        raise DatabaseUnavailableError(f"PostgreSQL did not tell what failed: {describe(error)}.") from error
    return [FailedCount(state, code, count) for (state, code), count in sorted(counts.items())]
