"""What createUser and createCloseOrder do inside a transaction: users first, then orders, each as a set."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from sqlalchemy import Connection

from dbstorage.codes import EXPIRED_QUESTION, USER_CONFLICT
from dbstorage.commands.orders import CloseOrder
from dbstorage.commands.registry import kind_of
from dbstorage.commands.users import CreateUser
from dbstorage.database.shape import TableShape
from dbstorage.errors import RejectedEntry
from dbstorage.storage.locks import Queue, wake_queued
from dbstorage.storage.order_outcomes import order_outcome
from dbstorage.storage.orders import OrderResult, store_orders
from dbstorage.storage.outcome import STORED, Outcome, Retried, Status
from dbstorage.storage.people import People
from dbstorage.storage.registered import function_named
from dbstorage.storage.retries import bind_waiting_orders, follow_moves
from dbstorage.storage.service import Service
from dbstorage.storage.users import Decision, UserWrite, store_users
from dbstorage.storage.waiting import OwnedOrder, store_waiting_orders
from dbstorage.storage.work import Work
from dbstorage.wire.entry_id import position_of

CONFLICTING_USER = Outcome(
    Status.FAILED,
    USER_CONFLICT,
    "The e-mail address belongs to one user and the userId to another; nothing was changed. "
    "Correct one of the two users, then retry.",
)

TOO_LATE = Outcome(
    Status.FAILED, EXPIRED_QUESTION, "It is a question, and nobody waits for its answer any more: discard it."
)


#: What writes a set of commands of a further kind, behind users and orders; the outcomes are in their order.
Writer: TypeAlias = Callable[[Connection, TableShape, Service, Sequence[Work]], list[Outcome]]


class Written(NamedTuple):
    """What became of each work, and of the orders that waited for one of their users."""

    outcomes: list[Outcome]
    released: list[Retried]


def write(
    connection: Connection,
    shape: TableShape,
    service: Service,
    works: Sequence[Work],
    queue: Queue,
    inserted: Callable[[], None] = lambda: None,
    *,
    leave_waiting: bool = False,
) -> Written:
    """Apply users, the orders that waited for them, orders and rejections.

    The outcomes hold once the caller's transaction has committed. A createUser that is recorded as a conflict is
    decided anew only where it is its record that is run again. Commands that have to wait in the `queue` for a locked
    row are put aside. With `leave_waiting` the orders that waited are left to the sweep. `inserted` as in
    `store_orders`.
    """
    released: list[Retried] = []
    outcomes: dict[int, Outcome] = {}
    users: list[UserWrite] = []
    users_at: list[int] = []
    orders: list[CloseOrder] = []
    orders_at: list[int] = []
    verdicts: dict[int, OrderResult] = {}
    others_at: dict[str, list[int]] = {}
    somebody_waits = bool(queue)
    for index, work in enumerate(works):
        command = work.command
        if somebody_waits and (waits := queue.outcome_of(work)) is not None:
            outcomes[index] = waits
        elif isinstance(command, CloseOrder):
            orders.append(command)
            orders_at.append(index)
        elif isinstance(command, CreateUser):
            users.append(user_write(work, command))
            users_at.append(index)
        elif isinstance(command, RejectedEntry):
            outcomes[index] = Outcome(Status.FAILED, command.code, str(command))
        elif (kind := kind_of(type(command))) is not None and kind.writer is not None:
            others_at.setdefault(kind.writer, []).append(index)
        else:
            outcomes[index] = TOO_LATE
    if users:
        decisions = store_users(connection, service, users)
        for index, decision in zip(users_at, decisions, strict=True):
            outcomes[index] = Outcome(decision.status) if decision.status else CONFLICTING_USER
        decided = dict(zip(users_at, decisions, strict=True))
        people, owned = _follow(works, decided, orders_at)
        if people.moved:
            follow_moves(connection, service, people.moved)
        if people.arrived and leave_waiting:
            bind_waiting_orders(connection, service, people.arrived)
        elif people.arrived:
            released, verdicts = store_waiting_orders(connection, shape, service, people, owned)
    else:
        owned = {}
    if orders_at:
        if owned:
            left = [index for index in orders_at if index not in verdicts]
            stored = [owned[index].order for index in left]
            turns = [owned[index].turn for index in left]
        else:
            left, stored, turns = orders_at, orders, []
        if left:
            verdicts.update(zip(left, store_orders(connection, shape, stored, turns, inserted), strict=True))
        for index, order in zip(orders_at, orders, strict=True):
            verdict = verdicts[index]
            outcomes[index] = STORED if verdict is OrderResult.STORED else order_outcome(order, verdict)
    for name, indexes in others_at.items():
        writer: Writer = function_named(name)
        written = writer(connection, shape, service, [works[index] for index in indexes])
        outcomes.update(zip(indexes, written, strict=True))
    wake_queued(connection, service, works, outcomes)
    return Written([outcomes[index] for index in range(len(works))], released)


def _follow(
    works: Sequence[Work], decided: Mapping[int, Decision], orders_at: Sequence[int]
) -> tuple[People, dict[int, OwnedOrder]]:
    """The people of a batch, and its orders with the userID that their owners have at the end."""
    people = People()
    owners: dict[int, int] = {}
    orders = set(orders_at)
    for index, work in enumerate(works):
        command = work.command
        if index in orders and isinstance(command, CloseOrder):
            owners[index] = people.owner(command.user_id)
        elif index in decided and isinstance(command, CreateUser):
            decision = decided[index]
            if decision.moves_from is not None:
                people.moves(decision.moves_from, command.user_id, index)
            elif decision.status is Status.CREATED:
                people.comes(command.user_id, index)
            elif decision.status in (Status.UPDATED, Status.UNCHANGED):
                people.stays(command.user_id, index)
    owned = {}
    for index, owner in owners.items():
        command, came_at = works[index].command, people.came_at(owner)
        assert isinstance(command, CloseOrder)
        order = command._replace(user_id=people.user_id(owner))
        owned[index] = OwnedOrder(order, index if came_at is None else came_at)
    return people, owned


def user_write(work: Work, command: CreateUser) -> UserWrite:
    """A createUser with its place in the stream."""
    if work.record is not None and work.record.earlier_life:
        # Older than whatever this life of the stream says of the same people.
        return UserWrite(command, 0, retry=True)
    return UserWrite(command, position_of(work.entry.id) if work.entry else None, work.record is not None)
