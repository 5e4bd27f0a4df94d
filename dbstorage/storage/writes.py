"""What createUser and createCloseOrder do inside a transaction: users first, then orders, each as a set."""

from collections.abc import Sequence

from sqlalchemy import Connection

from dbstorage.commands.orders import CloseOrder
from dbstorage.commands.users import CreateUser
from dbstorage.database.shape import TableShape
from dbstorage.errors import RejectedEntry
from dbstorage.storage.failures import ORDER_CONFLICT, USER_NOT_FOUND
from dbstorage.storage.orders import Verdict, store_orders
from dbstorage.storage.outcome import DUPLICATE, STORED, Outcome, Status
from dbstorage.storage.service import Service
from dbstorage.storage.users import UserWrite, store_users
from dbstorage.storage.work import Work
from dbstorage.wire.entry_id import position_of

USER_CONFLICT = Outcome(
    Status.FAILED,
    "user_conflict",
    "The e-mail address belongs to one user and the userId to another; nothing was changed. "
    "Correct one of the two users, then retry.",
)


def write(
    connection: Connection, shape: TableShape, service: Service, works: Sequence[Work], *, retry: bool = False
) -> list[Outcome]:
    """Apply orders, users and rejections; the outcomes hold once the caller's transaction has committed.

    A createUser that is recorded as a conflict is decided anew only in a `retry`.
    """
    outcomes: dict[int, Outcome] = {}
    users: list[UserWrite] = []
    users_at: list[int] = []
    orders: list[CloseOrder] = []
    orders_at: list[int] = []
    for index, work in enumerate(works):
        command = work.command
        if isinstance(command, CloseOrder):
            orders.append(command)
            orders_at.append(index)
        elif isinstance(command, CreateUser):
            users.append(user_write(work, command, retry=retry))
            users_at.append(index)
        elif isinstance(command, RejectedEntry):
            outcomes[index] = Outcome(Status.FAILED, command.code, str(command))
    if users:
        for index, decision in zip(users_at, store_users(connection, service, users), strict=True):
            outcomes[index] = Outcome(decision.status) if decision.status else USER_CONFLICT
    if orders:
        verdicts = store_orders(connection, shape, orders)
        for index, order, verdict in zip(orders_at, orders, verdicts, strict=True):
            outcomes[index] = STORED if verdict is Verdict.STORED else _not_stored(order, verdict)
    return [outcomes[index] for index in range(len(works))]


def user_write(work: Work, command: CreateUser, *, retry: bool = False) -> UserWrite:
    """A createUser with its place in the stream."""
    return UserWrite(command, position_of(work.entry.id) if work.entry else None, retry)


def _not_stored(order: CloseOrder, verdict: Verdict) -> Outcome:
    if verdict is Verdict.DUPLICATE:
        return DUPLICATE
    if verdict is Verdict.CONFLICT:
        return Outcome(
            Status.FAILED,
            ORDER_CONFLICT,
            f"An order with the orderId {order.order_id!r} and other content is stored already; it stays as it is.",
        )
    return Outcome(
        Status.FAILED,
        USER_NOT_FOUND,
        f"There is no user with the userId {order.user_id!r}; a createUser for it puts this order back to work.",
    )
