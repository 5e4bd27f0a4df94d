"""Databases as `prisma migrate deploy` leaves them, in the shapes met in the field."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

Snapshot = dict[str, list[tuple[object, ...]]]


@dataclass(frozen=True)
class PrismaTables:
    """One shape; every flag is a difference from our own tables."""

    order_id_is_key: bool = False
    enums: bool = False
    close_reason: bool = False
    no_balance: bool = False
    cascade: bool = False

    def __str__(self) -> str:
        return "-".join(name for name, value in vars(self).items() if value) or "plain"

    def create(self, connection: Connection) -> None:
        """Create the tables with two users and two orders in the schema that the search path leads to."""
        for statement in self._statements():
            connection.execute(text(statement))

    def _statements(self) -> list[str]:
        symbol, side = ('"Symbol"', '"OrderSide"') if self.enums else ("TEXT", "TEXT")
        key = "orderId" if self.order_id_is_key else "id"
        return [
            "CREATE TYPE \"Symbol\" AS ENUM ('btc', 'sol', 'eth')",
            "CREATE TYPE \"OrderSide\" AS ENUM ('buy', 'sell')",
            f"""
            CREATE TABLE "User" (
                "id" SERIAL NOT NULL,
                "userID" TEXT NOT NULL,
                "email" TEXT NOT NULL,
                {"" if self.no_balance else '"balance" DOUBLE PRECISION NOT NULL DEFAULT 10000,'}
                CONSTRAINT "User_pkey" PRIMARY KEY ("id")
            )""",
            'CREATE UNIQUE INDEX "User_userID_key" ON "User"("userID")',
            'CREATE UNIQUE INDEX "User_email_key" ON "User"("email")',
            f"""
            CREATE TABLE "Orders" (
                {"" if self.order_id_is_key else '"id" SERIAL NOT NULL,'}
                "orderId" TEXT NOT NULL,
                "userId" TEXT NOT NULL,
                "symbol" {symbol} NOT NULL,
                "type" {side} NOT NULL,
                "quantity" DOUBLE PRECISION NOT NULL,
                "leverage" INTEGER NOT NULL,
                "takeProfit" DOUBLE PRECISION,
                "stopLoss" DOUBLE PRECISION,
                "stippage" DOUBLE PRECISION,
                "openPrice" DOUBLE PRECISION NOT NULL,
                "closePrice" DOUBLE PRECISION NOT NULL,
                "openTime" TIMESTAMP(3) NOT NULL,
                "closeTime" TIMESTAMP(3) NOT NULL,
                "profitLoss" DOUBLE PRECISION NOT NULL,
                {'"closeReason" TEXT,' if self.close_reason else ""}
                CONSTRAINT "Orders_pkey" PRIMARY KEY ("{key}")
            )""",
            *([] if self.order_id_is_key else ['CREATE UNIQUE INDEX "Orders_orderId_key" ON "Orders"("orderId")']),
            'ALTER TABLE "Orders" ADD CONSTRAINT "Orders_userId_fkey" FOREIGN KEY ("userId") '
            f'REFERENCES "User"("userID") ON DELETE {"CASCADE" if self.cascade else "RESTRICT"} ON UPDATE CASCADE',
            """INSERT INTO "User" ("userID", "email") VALUES ('ann', 'ann@example.com'), ('bob', 'bob@example.com')""",
            """
            INSERT INTO "Orders" ("orderId", "userId", "symbol", "type", "quantity", "leverage", "openPrice",
                                  "closePrice", "openTime", "closeTime", "profitLoss")
            VALUES ('first', 'ann', 'btc', 'buy', 1, 1, 2, 3, '2025-01-01', '2025-01-02 00:00:00.123', 1),
                   ('second', 'bob', 'eth', 'sell', 1, 1, 2, 3, '2025-01-01', '2025-01-03', -1)""",
        ]


def snapshot(connection: Connection) -> Snapshot:
    """Everything a migration could change outside of PostgreSQL's own schemas, rows of the platform included."""
    queries = {
        "schemas": "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'",
        "columns": """
            SELECT attrelid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull,
                   pg_get_expr(adbin, adrelid)
            FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid AND relkind IN ('r', 'v', 'S')
            LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
            WHERE attnum > 0 AND NOT attisdropped AND relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
            """,
        "constraints": """
            SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
            WHERE connamespace::regnamespace::text !~ '^(pg_|information_schema)' AND contype <> 'n'
            """,
        "indexes": "SELECT schemaname, indexname, indexdef FROM pg_indexes WHERE schemaname !~ '^pg_'",
        "types": "SELECT enumtypid::regtype::text, enumlabel FROM pg_enum",
    }
    found = {name: sorted(map(tuple, connection.execute(text(query))), key=str) for name, query in queries.items()}
    for table in ("User", "Orders"):
        if connection.scalar(text(f"SELECT to_regclass('\"{table}\"')")) is not None:
            rows = connection.execute(text(f'SELECT * FROM "{table}"'))
            found[f"rows of {table}"] = sorted(map(tuple, rows), key=str)
    return found
