"""How PostgreSQL reads a page: through one index, and no more of it than is shown."""

import json
from itertools import product
from typing import Any

import orjson
from sqlalchemy import Connection, text

from dbstorage.batch.resources import SESSION_SETTINGS
from dbstorage.storage.history import NEWEST_ROW, history_statement
from tests.history.conftest import Stored
from tests.history.rows import add_orders

USERS = 300
ORDERS = 60_000
#: The busiest user has every 20th order, fifteen times as many as the average.
OWNER = "CASE WHEN n % 20 = 0 THEN 'user-0' ELSE 'user-' || 1 + n % 299 END"
MIDDLE = "2026-01-01T00:00:06.000"


def plan_nodes(
    connection: Connection, stored: Stored, limit: int, close_time: str, key: int | str | None
) -> list[dict[str, Any]]:
    """Every node of the plan for a question of the busiest user, as it was executed."""
    statement = history_statement(stored.shape, limit, False)
    asked = orjson.dumps([{"number": 0, "user_id": "user-0", "close_time": close_time, "key": key}]).decode()
    explained = statement.replace("SELECT", "EXPLAIN (ANALYZE, FORMAT JSON) SELECT", 1)
    found = connection.exec_driver_sql(explained, (asked,)).scalar_one()
    plan = json.loads(found) if isinstance(found, str) else found
    nodes = [plan[0]["Plan"]]
    for node in nodes:
        nodes += node.get("Plans", [])
    return nodes


def test_a_page_reads_its_own_rows_through_the_index(stored: Stored):
    with stored.engine.begin() as connection:
        # Or statistics would come and go as they please.
        connection.execute(text('ALTER TABLE "Orders" SET (autovacuum_enabled = off)'))
        connection.execute(
            text(
                'INSERT INTO "User" ("userID", email) '
                f"SELECT 'user-' || n, 'user-' || n FROM generate_series(0, {USERS}) AS n"
            )
        )
    add_orders(stored.engine, OWNER, ORDERS)
    with stored.engine.connect() as connection:
        # As in the pool processes.
        for name, value in SESSION_SETTINGS.items():
            connection.execute(text(f"SET {name} = {value}"))
        newest = (NEWEST_ROW.close_time, NEWEST_ROW.key if stored.shape.has_order_row_id else None)
        middle = (MIDDLE, ORDERS if stored.shape.has_order_row_id else "order-5")
        for statistics in ("SELECT 'none yet'", "ANALYZE"):
            connection.execute(text(statistics))
            for limit, (close_time, key) in product((100, 1000), (newest, middle)):
                nodes = plan_nodes(connection, stored, limit, close_time, key)
                [scan] = [node for node in nodes if node.get("Relation Name") == "Orders"]
                assert scan["Node Type"] == "Index Scan"
                assert scan["Index Name"] == "Orders_userId_closeTime_idx"
                # Beside the rows shown only some of the same millisecond.
                assert limit < scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) < limit + 100
