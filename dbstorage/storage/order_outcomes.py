"""What the database says of an order, as an outcome with a sentence."""

from dbstorage.commands.orders import CloseOrder
from dbstorage.storage.failures import NOT_STORED, ORDER_CONFLICT, USER_NOT_FOUND
from dbstorage.storage.orders import Verdict
from dbstorage.storage.outcome import DUPLICATE, STORED, Outcome, Status
from dbstorage.storage.refused import kept_away


def order_outcome(order: CloseOrder, verdict: Verdict) -> Outcome:
    """The outcome of an order."""
    if verdict is Verdict.STORED:
        return STORED
    if verdict is Verdict.DUPLICATE:
        return DUPLICATE
    if verdict is Verdict.KEPT_AWAY:
        return Outcome(Status.FAILED, NOT_STORED, kept_away("Orders"))
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
