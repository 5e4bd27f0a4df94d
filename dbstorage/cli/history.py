import re
import sys
from typing import Any

import click

from dbstorage.cli.output import print_json, print_table, say
from dbstorage.cli.settings import settings_for_command
from dbstorage.commands.questions import HIGHEST_LIMIT
from dbstorage.errors import DBStorageError
from dbstorage.order_columns import ColumnKind, of_kind
from dbstorage.redis_access.client import connect_redis
from dbstorage.traffic.answer_reader import ask_history
from dbstorage.wire.received import ReceivedAnswer
from dbstorage.wire.response import ANSWERED_COLUMNS
from dbstorage.wire.response import DETAIL_COLUMNS as ANSWERED_WITH_DETAIL

FAILED = 1
EXPLANATIONS = {
    "missing_user_id": "the question names no user",
    "paused": "an operator has paused the service",
    "unavailable": "the service cannot use its database at the moment",
}
#: Headings of columns that differ from their names.
HEADINGS = {
    "closeTime": "closed",
    "openTime": "opened",
    "orderId": "order",
    "profitLoss": "profit",
    "stippage": "slippage",
    "closeReason": "reason",
}
COLUMNS = ("closeTime", "orderId", "symbol", "type", "quantity", "openPrice", "closePrice", "profitLoss")
#: What `--detail` adds.
DETAIL_COLUMNS = tuple(name for name in (*ANSWERED_COLUMNS, *ANSWERED_WITH_DETAIL) if name not in COLUMNS)
#: Headings of what is left out first on a narrow terminal, where nobody asked for more.
SPARE = ("open price", "close price", "quantity", "type")
NUMBERS = of_kind(ColumnKind.AMOUNT, ColumnKind.LIMIT, ColumnKind.LEVERAGE)


class NoAnswerError(DBStorageError):
    """Raised when nobody answered in time."""


@click.command()
@click.argument("user", metavar="USER")
@click.option("--limit", type=click.IntRange(1, HIGHEST_LIMIT), help="Orders at most. [default: the service's own]")
@click.option("--all", "every", is_flag=True, help="All orders, page by page; --limit is the size of a page then.")
@click.option("--detail", is_flag=True, help="Also leverage, limits, slippage and, where it is kept, the reason.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds to wait. [default: QUERY_TTL + 1]"
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def history(user: str, limit: int | None, every: bool, detail: bool, timeout: float | None, as_json: bool) -> None:
    """Ask the service for the closed orders of USER (a userId) and print them, the last closed first.

    The question goes through the command stream and the answer comes through the response stream, as for any other
    client, so this also shows whether the service works.

    \b
    Exit codes:
      0  answered
      1  no answer in time, or answered with an error
      2  wrong usage or settings
      3  Redis cannot be used
    """
    settings = settings_for_command()
    seconds = settings.query_ttl + 1 if timeout is None else timeout

    def ask(cursor: str | None) -> ReceivedAnswer:
        size = HIGHEST_LIMIT if every and limit is None else limit
        answer = ask_history(redis, settings, user, limit=size, cursor=cursor, detail=detail, timeout=seconds)
        if answer is None:
            # Takes a while to import, and most questions are answered.
            from dbstorage.status import read_verdict

            raise NoAnswerError(f"No answer within {seconds:g} s. The service: {read_verdict(settings).sentence}.")
        return answer

    with connect_redis(settings.redis_url) as redis:
        answer = ask(None)
        orders = answer.orders
        while every and answer.next_cursor is not None:
            answer = ask(answer.next_cursor)
            orders += answer.orders
    if as_json:
        print_json(_as_json(user, orders, answer))
    else:
        _print(user, orders, answer, detail)
    sys.exit(FAILED if answer.error else 0)


def _as_json(user: str, orders: list[dict[str, Any]], last: ReceivedAnswer) -> dict[str, Any]:
    return {
        "userId": user,
        "orders": orders,
        "hasMore": last.has_more,
        "nextCursor": last.next_cursor,
        "error": last.error,
    }


def _print(user: str, orders: list[dict[str, Any]], last: ReceivedAnswer, detail: bool) -> None:
    columns = (*COLUMNS, *DETAIL_COLUMNS) if detail else COLUMNS
    if orders:
        rows = [[_cell(order.get(name)) for name in columns] for order in orders]
        print_table(
            [_heading(name) for name in columns],
            rows,
            right=[_heading(name) for name in NUMBERS],
            whole=["closed", "order"],
            spare=() if detail else SPARE,
        )
    if last.error:
        explanation = EXPLANATIONS.get(last.error)
        say(f"The answer is the error {last.error}{f': {explanation}' if explanation else ''}.", err=True)
    elif not orders:
        say(f"No closed order of user {user} is stored.", err=True)
    elif last.has_more:
        say(f"These are the last {len(orders):,} orders; --all shows the older ones too.", err=True)


def _heading(name: str) -> str:
    return HEADINGS.get(name) or re.sub("(?=[A-Z])", " ", name).lower()


def _cell(value: Any) -> Any:
    # As many digits as a person reads; --json has all of them.
    return f"{value:.10g}" if isinstance(value, float) else value
