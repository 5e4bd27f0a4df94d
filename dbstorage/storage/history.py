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
from dbstorage.database.shape import CLOSE_REASON, TableShape
from dbstorage.order_columns import ColumnKind, of_kind
from dbstorage.wire.response import ANSWERED_COLUMNS, DETAIL_COLUMNS, REMARK_COLUMNS, order_as_answered

#: Rows of one statement at most, so that a batch of long questions does not fill the process's memory.
ROWS_AT_ONCE = 10_000
#: Newer than every stored order: where a question without a cursor begins.
NEWEST_ROW = Cursor("infinity", 2**63 - 1)
#: How a time is answered, in the words of PostgreSQL's to_char: 2025-01-31T12:00:00.007Z.
TIME = 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'
#: The years that have four digits.
ORDINARY = "BETWEEN '0001-01-01' AND '9999-12-31 23:59:59.999999'"

TIMES = of_kind(ColumnKind.TIME)
#: Columns whose type is double precision.
NUMBERS = of_kind(ColumnKind.AMOUNT, ColumnKind.LIMIT)
#: Rows begin with the question's number, the order's key, and the exact closeTime where the answered one is rounded.
KEY, EXACT_TIME, ORDER = 1, 2, 3
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
            # The cursor is from before the table got, or lost, its "id".
            pages[index] = Page(error="invalid_cursor")
        elif question.user_id is not None:
            alike[question.limit, question.detail].append(index)
    for (limit, detail), indexes in alike.items():
        further = further_columns(shape, detail)
        asked = [_asked(questions[index], shape, position) for position, index in enumerate(indexes)]
        statement = history_statement(shape, limit, detail)
        rows: list[list[Any]] = [[] for _ in indexes]
        # All at once: row by row costs twice as much.
        for row in execute_prepared(connection, statement, orjson.dumps(asked).decode()).fetchall():
            rows[row[0]].append(row)
        for index, of_question in zip(indexes, rows, strict=True):
            pages[index] = _page(of_question, limit, further)
    return pages


def _asked(question: HistoryQuestion, shape: TableShape, position: int) -> dict[str, Any]:
    asked: dict[str, Any] = {"n": position, "user_id": question.user_id}
    if question.cursor is not None:
        return {**asked, "close_time": question.cursor.close_time, "key": question.cursor.key}
    # There is no last text, so a first page that is ordered by orderId has no bound.
    newest = {"close_time": NEWEST_ROW.close_time, "key": NEWEST_ROW.key if shape.has_order_row_id else None}
    return {**asked, **newest}


def _page(rows: list[Any], limit: int, further: tuple[str, ...]) -> Page:
    shown = rows[:limit]
    orders = [order_as_answered(row[ORDER:], further) for row in shown]
    if len(rows) <= limit:
        return Page(orders, None)
    last = shown[-1]
    close_time = last[EXACT_TIME] or last[CLOSE_TIME].removesuffix("Z")
    return Page(orders, encode_cursor(Cursor(close_time, last[KEY])))


def further_columns(shape: TableShape, detail: bool) -> tuple[str, ...]:
    """The columns that an answer has behind ANSWERED_COLUMNS."""
    if shape.close_reason is not None:
        return DETAIL_COLUMNS if detail else REMARK_COLUMNS
    return tuple(name for name in DETAIL_COLUMNS if name != CLOSE_REASON) if detail else ()


@lru_cache(maxsize=64)
def history_statement(shape: TableShape, limit: int, detail: bool) -> str:
    """The statement for questions with the same limit; ties are broken by "id", else by "orderId" descending."""
    key = "id" if shape.has_order_row_id else "orderId"
    key_type = "bigint" if shape.has_order_row_id else "text"
    columns = ANSWERED_COLUMNS + further_columns(shape, detail)
    shown = ", ".join(_shown(shape, name) for name in columns)
    selected = ", ".join(f'stored."{name}"' for name in columns)
    behind = f'(stored."closeTime", stored."{key}") < (asked.close_time, asked.key)'
    if not shape.has_order_row_id:
        behind = f"(asked.key IS NULL OR {behind})"
    return (
        f"SELECT asked.n, closed.key, {_exact(shape)}, {shown} "  # names of our own
        "FROM jsonb_to_recordset(%s::jsonb) "
        f"AS asked(n integer, user_id text, close_time timestamp, key {key_type}) "
        f'CROSS JOIN LATERAL (SELECT stored."{key}" AS key, {selected} '
        'FROM "Orders" AS stored '
        'WHERE stored."userId" = asked.user_id AND stored."closeTime" <= asked.close_time '
        f"AND {behind} "
        f'ORDER BY stored."closeTime" DESC, stored."{key}" DESC LIMIT {limit + 1}) AS closed '
        'ORDER BY asked.n, closed."closeTime" DESC, closed.key DESC'
    )


def _shown(shape: TableShape, name: str) -> str:
    column = f'closed."{name}"'
    if name in shape.enums:
        return f"lower({column}::text)"
    if name not in TIMES:
        # A column that somebody gave the type numeric is answered as the number it was.
        return f"{column}::double precision" if name in NUMBERS else column
    # Times become text here: psycopg2 and datetime take three times as long for it. Years of more than four digits and
    # those before Christ are written as JavaScript does: +012025-01-01T…, -000043-03-15T….
    year = f"(extract(year FROM {column})::integer + CASE WHEN {column} < '0001-01-01' THEN 1 ELSE 0 END)"
    far = f"CASE WHEN isfinite({column}) THEN to_char({year}, 'FMSG000000') || to_char({column}, '-{TIME[5:]}') END"
    return f"CASE WHEN {column} {ORDINARY} THEN to_char({column}, '{TIME}') ELSE {far} END"


def _exact(shape: TableShape) -> str:
    """The closeTime as PostgreSQL writes it, where what is answered does not tell it exactly; else NULL."""
    column = 'closed."closeTime"'
    odd = f"{column} NOT {ORDINARY}"
    if shape.fine_times:
        odd += f" OR {column} <> date_trunc('milliseconds', {column})"
    return f"CASE WHEN {odd} THEN {column}::text END"
