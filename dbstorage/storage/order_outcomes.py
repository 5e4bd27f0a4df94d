"""What the database says of an order, as an outcome with a sentence."""

from dbstorage.codes import NOT_STORED, ORDER_CONFLICT, USER_NOT_FOUND
from dbstorage.commands.orders import CloseOrder
from dbstorage.storage.orders import OrderResult
from dbstorage.storage.outcome import DUPLICATE, STORED, Outcome, Status
from dbstorage.storage.refused import kept_away


def order_outcome(order: CloseOrder, verdict: OrderResult) -> Outcome:
    """The outcome of an order."""
    if verdict is OrderResult.STORED:
        return STORED
    if verdict is OrderResult.DUPLICATE:
        return DUPLICATE
    if verdict is OrderResult.KEPT_AWAY:
        return Outcome(Status.FAILED, NOT_STORED, kept_away("Orders"))
    if verdict is OrderResult.CONFLICT:
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
