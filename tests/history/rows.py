"""Many orders at once, straight into the table."""

from sqlalchemy import Engine, text

COLUMNS = (
    '"orderId", "userId", "symbol", "type", "quantity", "leverage", "openPrice", "closePrice", "openTime", '
    '"closeTime", "profitLoss"'
)


def add_user(engine: Engine, user_id: str) -> None:
    """A user whose e-mail address is made of the id."""
    with engine.begin() as connection:
        connection.execute(
            text('INSERT INTO "User" ("userID", email) VALUES (:user_id, :email)'),
            {"user_id": user_id, "email": f"{user_id}@example.com"},
        )


def add_orders(engine: Engine, owner: str, count: int, prefix: str = "order") -> None:
    """Orders `<prefix>-<number>`, seven of them closed in each millisecond; `owner` is SQL over n, the number."""
    statement = f"""
        INSERT INTO "Orders" ({COLUMNS})
        SELECT '{prefix}-' || n, {owner}, 'btc', 'buy', 1, 1, 1, 1, timestamp '2026-01-01',
               timestamp '2026-01-01' + (n / 7) * interval '1 millisecond', 1
        FROM generate_series(1, {count}) AS n
        """
    with engine.begin() as connection:
        connection.execute(text(statement))
