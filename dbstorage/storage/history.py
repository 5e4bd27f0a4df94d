"""Reading a user's closed orders, newest first, for many questions in one statement."""

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection

from dbstorage.commands.cursor import Cursor, encode_cursor
from dbstorage.commands.questions import HistoryQuestion
from dbstorage.database.engine import execute_prepared
from dbstorage.database.shape import TableShape
from dbstorage.wire.response import ANSWERED_COLUMNS, DETAIL_COLUMNS, order_as_answered

#: Rows of one statement at most, so that a batch of long questions does not fill the process's memory.
ROWS_AT_ONCE = 10_000
#: Newer than every stored order: where a question without a cursor begins.
NEWEST_ROW = Cursor("infinity", 2**63 - 1)
NEWEST_ORDER = Cursor("infinity", "")
#: How a time is answered, in the words of PostgreSQL's to_char: 2025-01-31T12:00:00.007Z.
TIME = 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'

TIMES = ("openTime", "closeTime")
#: Rows begin with the question's number and the order's key.
KEY, ORDER = 1, 2
CLOSE_TIME = ORDER + ANSWERED_COLUMNS.index("closeTime")


class Page(NamedTuple):
    """One page of a user's orders, as JSON objects, and where the next one begins."""

    orders: list[dict[str, Any]] = []  # noqa: RUF012  # never changed
    next_cursor: str | None = None
    error: str | None = None


EMPTY = Page()


def read_pages(connection: Connection, shape: TableShape, questions: Sequence[HistoryQuestion]) -> list[Page]:
    """The answer of each question; the caller keeps the sum of their limits near ROWS_AT_ONCE."""
    pages = [EMPTY] * len(questions)
    alike: dict[tuple[int, bool], list[int]] = defaultdict(list)
    for index, question in enumerate(questions):
        if question.error is not None:
            pages[index] = Page(error=question.error)
        elif question.cursor is not None and isinstance(question.cursor.key, int) != shape.has_order_row_id:
            # It was given out when the table still had, or had not, its "id".
            pages[index] = Page(error="invalid_cursor")
        elif question.user_id is not None:
            alike[question.limit, question.detail].append(index)
    for (limit, detail), indexes in alike.items():
        asked = [_asked(questions[index], shape, position) for position, index in enumerate(indexes)]
        statement = history_statement(shape, limit, detail)
        rows: list[list[Any]] = [[] for _ in indexes]
        # All at once: row by row costs twice as much.
        for row in execute_prepared(connection, statement, orjson.dumps(asked).decode()).fetchall():
            rows[row[0]].append(row)
        for index, of_question in zip(indexes, rows, strict=True):
            pages[index] = _page(of_question, limit)
    return pages


def _asked(question: HistoryQuestion, shape: TableShape, position: int) -> dict[str, Any]:
    cursor = question.cursor or (NEWEST_ROW if shape.has_order_row_id else NEWEST_ORDER)
    return {"n": position, "user_id": question.user_id, "close_time": cursor.close_time, "key": cursor.key}


def _page(rows: list[Any], limit: int) -> Page:
    shown = rows[:limit]
    orders = [order_as_answered(row[ORDER:]) for row in shown]
    if len(rows) <= limit:
        return Page(orders, None)
    last = shown[-1]
    return Page(orders, encode_cursor(Cursor(last[CLOSE_TIME].removesuffix("Z"), last[KEY])))


def _columns(shape: TableShape, detail: bool) -> tuple[str, ...]:
    if not detail:
        return ANSWERED_COLUMNS
    return ANSWERED_COLUMNS + (DETAIL_COLUMNS if shape.has_close_reason else DETAIL_COLUMNS[:-1])


@lru_cache(maxsize=64)
def history_statement(shape: TableShape, limit: int, detail: bool) -> str:
    """The statement for questions with the same limit; ties are broken by "id", else by "orderId" descending."""
    key = "id" if shape.has_order_row_id else "orderId"
    key_type = "bigint" if shape.has_order_row_id else "text"
    columns = _columns(shape, detail)
    # Times become text here: psycopg2 and datetime take three times as long for it.
    shown = ", ".join(
        f"to_char(closed.\"{name}\", '{TIME}')" if name in TIMES else f'closed."{name}"' for name in columns
    )
    selected = ", ".join(f'stored."{name}"' for name in columns)
    return (
        f"SELECT asked.n, closed.key, {shown} "  # names of our own
        "FROM jsonb_to_recordset(%s::jsonb) "
        f"AS asked(n integer, user_id text, close_time timestamp, key {key_type}) "
        f'CROSS JOIN LATERAL (SELECT stored."{key}" AS key, {selected} '
        'FROM "Orders" AS stored '
        'WHERE stored."userId" = asked.user_id AND stored."closeTime" <= asked.close_time '
        f'AND (stored."closeTime", stored."{key}") < (asked.close_time, asked.key) '
        f'ORDER BY stored."closeTime" DESC, stored."{key}" DESC LIMIT {limit + 1}) AS closed '
        'ORDER BY asked.n, closed."closeTime" DESC, closed.key DESC'
    )
