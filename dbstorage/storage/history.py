"""Reading a user's closed orders, newest first, for many questions in one statement.

PostgreSQL writes the JSON of each page: a value for each column of each order costs Python twice as long.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection

from dbstorage.commands.cursor import Cursor, encode_cursor
from dbstorage.commands.questions import HistoryQuestion
from dbstorage.database.engine import fetch_prepared
from dbstorage.database.shape import CLOSE_REASON, TableShape
from dbstorage.order_columns import ColumnKind, of_kind
from dbstorage.wire.response import ANSWERED_COLUMNS, DETAIL_COLUMNS, NO_ORDERS, REMARK_COLUMNS

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


class Page(NamedTuple):
    """One page of a user's orders, as a JSON array, and where the next one begins."""

    orders: str = NO_ORDERS
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
        asked = [_asked(questions[index], shape, index) for index in indexes]
        statement = history_statement(shape, limit, detail)
        rows = fetch_prepared(connection, statement, orjson.dumps(asked).decode())
        for index, orders, has_more, close_time, key in rows:
            pages[index] = Page(f"[{orders or ''}]", encode_cursor(Cursor(close_time, key)) if has_more else None)
    return pages


def _asked(question: HistoryQuestion, shape: TableShape, number: int) -> dict[str, Any]:
    asked: dict[str, Any] = {"number": number, "user_id": question.user_id}
    if question.cursor is not None:
        return {**asked, "close_time": question.cursor.close_time, "key": question.cursor.key}
    # There is no last text, so a first page that is ordered by orderId has no bound.
    newest = {"close_time": NEWEST_ROW.close_time, "key": NEWEST_ROW.key if shape.has_order_row_id else None}
    return {**asked, **newest}


def further_columns(shape: TableShape, detail: bool) -> tuple[str, ...]:
    """The columns that an answer has behind ANSWERED_COLUMNS."""
    if shape.close_reason is not None:
        return DETAIL_COLUMNS if detail else REMARK_COLUMNS
    return tuple(name for name in DETAIL_COLUMNS if name != CLOSE_REASON) if detail else ()


@lru_cache(maxsize=64)
def history_statement(shape: TableShape, limit: int, detail: bool) -> str:
    """The statement for questions with the same limit; ties are broken by "id", else by "orderId" descending.

    A row for each question: its number, the page's orders as JSON objects with commas between them, whether there are
    more, and closeTime and key of the last order that is shown.
    """
    key = "id" if shape.has_order_row_id else "orderId"
    key_type = "bigint" if shape.has_order_row_id else "text"
    further = further_columns(shape, detail)
    selected = ", ".join(f'stored."{name}"' for name in ANSWERED_COLUMNS + further)
    behind = f'(stored."closeTime", stored."{key}") < (asked.close_time, asked.key)'
    if not shape.has_order_row_id:
        behind = f"(asked.key IS NULL OR {behind})"
    return (
        "SELECT asked.number, page.* "  # names of our own
        "FROM jsonb_to_recordset(%s::jsonb) "
        f"AS asked(number integer, user_id text, close_time timestamp, key {key_type}) "
        "CROSS JOIN LATERAL ("
        f"SELECT string_agg({_object(shape, further)}, ',') FILTER (WHERE place <= {limit}), max(place) > {limit}, "
        f'max("closeTime"::text) FILTER (WHERE place = {limit}), max(key) FILTER (WHERE place = {limit}) '
        "FROM (SELECT sorted.*, row_number() OVER () AS place "
        f'FROM (SELECT stored."{key}" AS key, {selected} '
        'FROM "Orders" AS stored '
        'WHERE stored."userId" = asked.user_id AND stored."closeTime" <= asked.close_time '
        f"AND {behind} "
        f'ORDER BY stored."closeTime" DESC, stored."{key}" DESC LIMIT {limit + 1}) AS sorted) AS closed) AS page'
    )


def _object(shape: TableShape, further: Sequence[str]) -> str:
    """SQL for the JSON object of an order, in the order of the contract."""

    def members(names: Sequence[str]) -> list[str]:
        return [f"\"{name}\":' || {_json(shape, name)} || '" for name in names]

    # Much faster than json_build_object, and the fewer pieces the faster.
    return "'{" + ",".join([*members(ANSWERED_COLUMNS), '"status":"closed"', *members(further)]) + "}'"


def _json(shape: TableShape, name: str) -> str:
    """SQL for the JSON of an order's column."""
    column = f'closed."{name}"'
    if name in NUMBERS:
        # JSON has no word for what is not finite.
        return f"CASE WHEN {column} - {column} = 0 THEN {column}::text ELSE 'null' END"
    if name not in TIMES:
        value = f"lower({column}::text)" if name in shape.enums else column
        return f"coalesce(to_json({value})::text, 'null')"
    # Years of more than four digits and those before Christ are written as JavaScript does: +012025-01-01T…,
    # -000043-03-15T….
    year = f"(extract(year FROM {column})::integer + CASE WHEN {column} < '0001-01-01' THEN 1 ELSE 0 END)"
    far = f"CASE WHEN isfinite({column}) THEN to_char({year}, 'FMSG000000') || to_char({column}, '-{TIME[5:]}') END"
    text = f"CASE WHEN {column} {ORDINARY} THEN to_char({column}, '{TIME}') ELSE {far} END"
    return f"coalesce('\"' || {text} || '\"', 'null')"
