"""The trial: what the service does with the tables, done as the very role, and rolled back.

Rows get ids that we choose, so that no number is drawn from a sequence: a rollback would not give it back.
"""

import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import product
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from dbstorage.checks.finding import Finding, fine, problem
from dbstorage.codes import ORDER_CONFLICT
from dbstorage.commands.orders import CloseOrder, close_order
from dbstorage.commands.questions import HistoryQuestion
from dbstorage.commands.users import CreateUser
from dbstorage.database.sequences import NumberedColumn
from dbstorage.database.shape import TableShape
from dbstorage.errors import DBStorageError
from dbstorage.order_columns import ORDER_COLUMNS, ColumnKind, of_kind
from dbstorage.storage.failures import Failed, record
from dbstorage.storage.history import Page, read_pages
from dbstorage.storage.locks import find_locked, read_queue
from dbstorage.storage.orders import OrderResult, insert_orders, store_orders
from dbstorage.storage.outcome import Outcome, Status
from dbstorage.storage.refused import examine
from dbstorage.storage.retries import Noted, due, lock, note
from dbstorage.storage.service import Service
from dbstorage.storage.users import UserWrite, insert_users, store_users
from dbstorage.storage.work import Record, Work
from dbstorage.wire.entry import CREATE_CLOSE_ORDER, Layout, Request, StreamEntry

TRIAL = "Trial"
#: Size of a failed task's random payload, which cannot be compressed: writing it shows whether the disk is full.
PAYLOAD = 65_536
#: Every combination of symbol and type that an order may have.
WORDS = [
    dict(zip(of_kind(ColumnKind.WORD), words, strict=True))
    for words in product(*(column.words for column in ORDER_COLUMNS if column.kind is ColumnKind.WORD))
]
#: A number that comes back unchanged only if all of its digits are read.
EXACT = 0.1 + 0.2
#: A position before every entry of a stream.
POSITION = 1


class TrialFailed(DBStorageError):
    """Raised where the tables do something else than the service needs; the sentence says what."""


class Step(NamedTuple):
    """One thing that is tried."""

    name: str
    run: Callable[[], None]


def run_trial(
    connection: Connection, shape: TableShape, service: Service, numbered: list[NumberedColumn]
) -> Iterator[Finding]:
    """Yield one finding if every step works, else one for the first that fails. The caller rolls the transaction back.

    Later steps depend on earlier ones, so they are not tried after a failure.
    """
    trial = _Trial(connection, shape, service, numbered)
    done: list[str] = []
    for step in trial.steps():
        try:
            with connection.begin_nested():
                step.run()
                connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
        except TrialFailed as error:
            yield problem(TRIAL, f"The trial of {step.name} went wrong: {error}")
            return
        except DBAPIError as error:
            sentence = examine(connection, shape, error).sentence
            yield problem(TRIAL, f"The trial of {step.name} went wrong. {sentence}")
            return
        done.append(step.name)
    yield fine(TRIAL, f"Done and rolled back: {', '.join(done)}.")


class _Trial:
    def __init__(
        self, connection: Connection, shape: TableShape, service: Service, numbered: list[NumberedColumn]
    ) -> None:
        self.connection = connection
        self.shape = shape
        self.service = service
        mark = secrets.token_hex(8)
        self.user = CreateUser(f"dbstorage-check-{mark}", f"dbstorage-check-{mark}@example.com")
        self.moved = CreateUser(f"{self.user.user_id}-moved", self.user.email)
        self.number = -secrets.randbelow(2**31 - 2) - 1
        self.numbered = numbered

    def steps(self) -> Iterator[Step]:
        yield Step("a user", self.create)
        yield Step("orders", self.store)
        yield Step("a duplicate and a conflict", self.compare)
        yield Step("histories", self.ask)
        yield Step("a failed task", self.fail)
        yield Step("a move", self.move)

    def create(self) -> None:
        if insert_users(self.connection, [self.user], self._numbers("User")) != 1:
            raise TrialFailed('the row of a user is kept away from "User" by a trigger or a rule.')
        self._expect_decision(self.user, Status.UNCHANGED)
        find_locked(self.connection, [self._work(self.user)])

    def store(self) -> None:
        for number, words in enumerate(WORDS):
            order = self.order(number, words)
            inserted = insert_orders(self.connection, self.shape, [order], self._numbers("Orders", number))
            if order.order_id not in inserted.written:
                raise TrialFailed('the row of an order is kept away from "Orders" by a trigger or a rule.')

    def compare(self) -> None:
        orders = [self.order(0), self.order(0)._replace(quantity=2.0), self.order(9)._replace(user_id="\x01")]
        found = store_orders(self.connection, self.shape, orders)
        expected = [OrderResult.DUPLICATE, OrderResult.CONFLICT, OrderResult.USER_UNKNOWN]
        if found != expected:
            raise TrialFailed(f"stored orders do not come back as they were written ({', '.join(found)}).")

    def ask(self) -> None:
        newest = f"{self.user.user_id}-{len(WORDS) - 1}"
        for detail in (False, True):
            page = self._page(limit=2, detail=detail)
            orders = orjson.loads(page.orders)
            if [order["orderId"] for order in orders][:1] != [newest] or page.next_cursor is None:
                raise TrialFailed("a history does not show the orders that were stored.")
            shown = orders[0]
            if {**shown, **WORDS[-1], "profitLoss": EXACT} != shown:
                raise TrialFailed(f"a history shows other values than were stored: {shown!r}.")

    def fail(self) -> None:
        entry = StreamEntry("0-1", [b"message", secrets.token_bytes(PAYLOAD)])
        # Made by hand, because the random payload cannot be decoded.
        work = Work(entry, Request(entry.id, Layout.ENVELOPE, CREATE_CLOSE_ORDER, {}), self.order(0))
        outcome = Outcome(Status.FAILED, ORDER_CONFLICT, "A trial of dbstorage check.")
        failure = Failed(work, outcome, 0.0)
        record(self.connection, self.service, [failure], numbers=self._numbers("failed_tasks"))
        [(record_id, version, task_id)] = self.connection.exec_driver_sql(
            "SELECT id, xmin::text, task_id FROM dbstorage.failed_tasks "
            "WHERE stream = %s AND consumer_group = %s AND life = %s AND entry_id = '0-1'",
            tuple(self.service),
        ).all()
        read_queue(self.connection, self.service, [work])
        due(self.connection, self.service, [CREATE_CLOSE_ORDER], 1)
        if lock(self.connection, [Record(record_id, version, task_id, 1, 0.0)]) != {record_id}:
            raise TrialFailed("the record of a failed task cannot be locked.")
        note(self.connection, [Noted(record_id, task_id, "failed", outcome.code, outcome.message, None)])
        self.connection.exec_driver_sql("DELETE FROM dbstorage.failed_tasks WHERE id = %s", (record_id,))

    def move(self) -> None:
        self._expect_decision(self.moved, Status.UPDATED)
        page = self._page(limit=2, detail=False, user_id=self.moved.user_id)
        if len(orjson.loads(page.orders)) != 2:
            raise TrialFailed("orders do not follow their user to another userID.")

    def order(self, number: int, words: dict[str, str] = WORDS[0]) -> CloseOrder:
        moment = datetime(2000, 1, 1, 0, 0, number, tzinfo=UTC).isoformat()
        user_id = self.user.user_id
        ids = {"orderId": f"{user_id}-{number}", "userId": user_id}
        return close_order(
            {**ids, **words, "quantity": 1, "openTime": moment, "closeTime": moment, "profitLoss": EXACT}
        )

    def _work(self, command: CloseOrder | CreateUser) -> Work:
        return Work(None, None, command)

    def _numbers(self, table: str, offset: int = 0) -> tuple[tuple[str, int], ...]:
        return tuple((each.column, self.number + offset) for each in self.numbered if each.table == table)

    def _expect_decision(self, user: CreateUser, expected: Status) -> None:
        [decision] = store_users(self.connection, self.service, [UserWrite(user, POSITION)])
        if decision.status is not expected:
            raise TrialFailed(f"a user that was stored is not found again ({decision.status or 'a conflict'}).")

    def _page(self, limit: int, *, detail: bool, user_id: str | None = None) -> Page:
        question = HistoryQuestion(user_id or self.user.user_id, limit, None, detail, None, None)
        [page] = read_pages(self.connection, self.shape, [question])
        return page
