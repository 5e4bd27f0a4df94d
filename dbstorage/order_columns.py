"""The columns of a closed order, in one table: the wire, the rules, SQL, the tables' shape and answers derive from it.

A further column is a line here. Tests name the documents and the generator that forget it; CONTRIBUTING says the rest.
"""

import re
from enum import Enum, auto
from typing import NamedTuple


class ColumnKind(Enum):
    """What a column holds; whoever derives something has one line for each kind."""

    #: Text of an id; required. Which order it is, and whose, is not part of its content.
    ID = auto()
    #: One of a few words in any case, stored in lower case; required.
    WORD = auto()
    #: A point in time, stored in UTC with milliseconds; required.
    TIME = auto()
    #: A number; 0 where there is none.
    AMOUNT = auto()
    #: A number; NULL where there is none, and for 0.
    LIMIT = auto()
    #: A whole number of 32 bits; 1 where there is none, and for 0.
    LEVERAGE = auto()
    #: Text, cut to what the column takes, in tables that have such a column. It never keeps an order from its row.
    REMARK = auto()


class Shown(Enum):
    """In which answers a column stands."""

    ALWAYS = auto()
    #: With `detail`, and in every answer where the table has the remark: clients tell by them who closed an order.
    WITH_REMARK = auto()
    WITH_DETAIL = auto()
    NEVER = auto()


class OrderColumn(NamedTuple):
    """A column of "Orders", and the key of the same name in the message of a createCloseOrder."""

    name: str
    kind: ColumnKind
    shown: Shown = Shown.WITH_DETAIL
    #: What a WORD may be.
    words: tuple[str, ...] = ()
    #: Another key, which is taken where the first has no value.
    alias: str | None = None

    @property
    def field(self) -> str:
        """The name of the same in a CloseOrder, `take_profit` for `takeProfit`."""
        return re.sub(r"(?=[A-Z])", "_", self.name).lower()

    @property
    def is_content(self) -> bool:
        """Whether it is compared when an orderId comes again.

        The userId is not: createUser may have moved it in between. Nor is a remark: the service that DBStorage replaces
        did not fill it.
        """
        return self.kind not in (ColumnKind.ID, ColumnKind.REMARK)


ORDER_COLUMNS: tuple[OrderColumn, ...] = (
    OrderColumn("orderId", ColumnKind.ID, Shown.ALWAYS),
    OrderColumn("userId", ColumnKind.ID, Shown.NEVER),
    OrderColumn("symbol", ColumnKind.WORD, Shown.ALWAYS, words=("btc", "sol", "eth")),
    OrderColumn("type", ColumnKind.WORD, Shown.ALWAYS, words=("buy", "sell")),
    OrderColumn("quantity", ColumnKind.AMOUNT, Shown.ALWAYS),
    OrderColumn("leverage", ColumnKind.LEVERAGE),
    OrderColumn("takeProfit", ColumnKind.LIMIT, Shown.WITH_REMARK),
    OrderColumn("stopLoss", ColumnKind.LIMIT, Shown.WITH_REMARK),
    # The platform's own spelling.
    OrderColumn("stippage", ColumnKind.LIMIT, alias="slippage"),
    OrderColumn("openPrice", ColumnKind.AMOUNT, Shown.ALWAYS),
    OrderColumn("closePrice", ColumnKind.AMOUNT, Shown.ALWAYS),
    OrderColumn("openTime", ColumnKind.TIME, Shown.ALWAYS),
    OrderColumn("closeTime", ColumnKind.TIME, Shown.ALWAYS),
    OrderColumn("profitLoss", ColumnKind.AMOUNT, Shown.ALWAYS),
    OrderColumn("closeReason", ColumnKind.REMARK, Shown.WITH_REMARK),
)


def of_kind(*kinds: ColumnKind) -> tuple[str, ...]:
    """The names of the columns of these kinds."""
    return tuple(column.name for column in ORDER_COLUMNS if column.kind in kinds)
