"""Rows that are there before a measurement, written by the database itself."""

from contextlib import closing

import psycopg2

from bench.servers import Servers

USERS = 100
INDEXES = """
    SELECT quote_ident(indexname), indexdef FROM pg_indexes
    WHERE schemaname = 'public' AND tablename = 'Orders' AND indexname <> 'Orders_pkey'
"""
INSERT_USERS = """
    INSERT INTO "User" ("userID", "email")
    SELECT 'preloaded-' || n, 'preloaded-' || n || '@example.com' FROM generate_series(0, %s) AS n
"""
INSERT_ORDERS = """
    INSERT INTO "Orders" ("orderId", "userId", "symbol", "type", "quantity", "leverage", "takeProfit", "stopLoss",
        "stippage", "openPrice", "closePrice", "openTime", "closeTime", "profitLoss")
    SELECT gen_random_uuid(), 'preloaded-' || n %% %s, 'btc', 'buy', 0.5, 10, NULL, 63000.5, NULL, 64000.25, 64100.75,
        timestamp '2025-01-01' + n * interval '1 second', timestamp '2025-01-02' + n * interval '1 second', 50.25
    FROM generate_series(1, %s) AS n
"""


def preloaded_user(number: int) -> str:
    """The userId of one of the USERS people who own the preloaded orders."""
    return f"preloaded-{number % USERS}"


def preload_orders(servers: Servers, rows: int) -> None:
    """Add `rows` orders, shared out evenly among USERS people who are added too."""
    if rows:
        with closing(psycopg2.connect(servers.database_url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(INSERT_USERS, (USERS - 1,))
            # Filled one row at a time, the indexes and the foreign key would take most of an hour for ten million.
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute(INDEXES)
            indexes = cursor.fetchall()
            for name, _ in indexes:
                cursor.execute(f"DROP INDEX {name}")
            cursor.execute(INSERT_ORDERS, (USERS, rows))
            for _, definition in indexes:
                cursor.execute(definition)
        servers.settle()
