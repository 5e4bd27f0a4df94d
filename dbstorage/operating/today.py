"""Today's closed orders, and the last one stored, for `status` and the page Service."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, text

from dbstorage.database.shape import inspect_shape

#: Through the index on "closeTime".
COUNT_TODAY = text(
    'SELECT lower("symbol"::text) AS symbol, count(*) AS orders, sum("profitLoss")::text AS profit FROM "Orders" '
    "WHERE \"closeTime\" >= date_trunc('day', timezone('UTC', now())) "
    "AND \"closeTime\" < date_trunc('day', timezone('UTC', now())) + interval '1 day' GROUP BY 1 ORDER BY 1"
)


@dataclass(frozen=True, kw_only=True)
class Today:
    """Orders with this symbol that were closed today, in UTC; `profit` is the sum of their profitLoss, as text."""

    symbol: str
    orders: int
    profit: str


@dataclass(frozen=True, kw_only=True)
class LastOrder:
    """The order that was stored last; `closed` in ISO 8601."""

    order_id: str
    user_id: str
    symbol: str
    profit: str
    closed: str


def read_today(connection: Connection) -> list[Today]:
    """The orders of today by symbol. Raises SQLAlchemyError."""
    return [
        Today(symbol=symbol, orders=orders, profit=profit) for symbol, orders, profit in connection.execute(COUNT_TODAY)
    ]


def read_last_order(connection: Connection) -> LastOrder | None:
    """The order stored last, None without one; where the table has no "id", the one closed last."""
    key = '"id"' if inspect_shape(connection).has_order_row_id else '"closeTime"'
    row = connection.execute(
        text(
            'SELECT "orderId", "userId", "symbol"::text, "profitLoss"::text, "closeTime"::text FROM "Orders" '
            f"ORDER BY {key} DESC LIMIT 1"
        )
    ).first()
    if row is None:
        return None
    order_id, user_id, symbol, profit, closed = row
    return LastOrder(order_id=order_id, user_id=user_id, symbol=symbol.lower(), profit=profit, closed=_iso(closed))


def _iso(moment: str) -> str:
    """A timestamp of PostgreSQL, which may be `infinity` or before Christ, as ISO 8601 where that can be written."""
    try:
        return (
            datetime.fromisoformat(moment).replace(tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        )
    except ValueError:
        return moment
