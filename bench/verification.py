"""Comparing what a contender stored with what it should have stored, row by row."""

from collections.abc import Iterable
from contextlib import closing

import psycopg2

from bench.traffic import COLUMNS, ExpectedRow

#: Differences that are shown; the rest are counted.
SHOWN = 3


class WrongRowsError(Exception):
    """Raised when rows are missing, different or too many; a measurement of that would be worth nothing."""


def verify_rows(database_url: str, expected: Iterable[ExpectedRow], rows_before: int = 0) -> int:
    """The number of rows behind the first `rows_before`, all of them right; raises WrongRowsError."""
    wanted = {row[0]: row for row in expected}
    columns = ", ".join(f'"{column}"' for column in COLUMNS)
    count = 0
    wrong: list[str] = []
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor("rows") as cursor:
        cursor.itersize = 10_000
        cursor.execute(f'SELECT {columns} FROM "Orders" WHERE "id" > %s', (rows_before,))
        for row in cursor:
            count += 1
            right = wanted.pop(row[0], None)
            if row != right:
                wrong.append(f"{row!r} is stored instead of {right!r}")
    wrong += [f"{order_id} is missing" for order_id in wanted]
    if wrong:
        raise WrongRowsError(f"{len(wrong):,} of the rows are wrong: {'; '.join(wrong[:SHOWN])}.")
    return count
