"""What a request means: a command to carry out, and how its task is called."""

from contextlib import suppress
from typing import Any, NamedTuple

from dbstorage.commands.numbers import number_text
from dbstorage.commands.orders import CloseOrder, close_order
from dbstorage.commands.questions import HistoryQuestion, asked_user, history_question, request_id_of
from dbstorage.commands.rejections import shown, without_emails
from dbstorage.commands.text import ID_CHARACTERS, usable_id
from dbstorage.commands.users import CreateUser, create_user, user_fields
from dbstorage.errors import RejectedEntry
from dbstorage.wire.entry import CREATE_CLOSE_ORDER, CREATE_USER, GET_CLOSE_ORDERS, Request

INVALID_ENTRY = "invalidEntry"
_EXPECTED_FUNCTION = f"expected {CREATE_CLOSE_ORDER}, {CREATE_USER} or {GET_CLOSE_ORDERS}"


class Identity(NamedTuple):
    """How the task of an entry is called: `name` is its function, or `invalidEntry`; `summary` is shown in Flower.

    `user_id` and `order_id` are None where the entry has none that could be stored.
    """

    name: str
    task_id: str
    summary: str
    user_id: str | None
    order_id: str | None


def interpret(request: Request, history_limit: int) -> CloseOrder | CreateUser | HistoryQuestion:
    """The command of a request; raises RejectedEntry with the code of the first rule it breaks.

    `history_limit` is the number of orders for a question that names none.
    """
    function, body = request.function, request.body
    if function == CREATE_CLOSE_ORDER:
        message = body.get("message")
        if not isinstance(message, dict):
            raise RejectedEntry(
                "invalid_entry", f"The message of createCloseOrder is {shown(message)}; expected the order, an object."
            )
        return close_order(message)
    if function == GET_CLOSE_ORDERS:
        return history_question(body, history_limit)
    if function == CREATE_USER:
        return create_user(body)
    if function is None:
        raise RejectedEntry("invalid_entry", f"function is {shown(body.get('function'))}; {_EXPECTED_FUNCTION}.")
    raise RejectedEntry("unknown_function", f"function is {shown(function)}; {_EXPECTED_FUNCTION}.")


def identify(request: Request) -> Identity:
    """Name, id and summary of the task for a request; never raises."""
    entry_id, function, body = request.entry_id or "", request.function, request.body
    if function == CREATE_CLOSE_ORDER:
        message = body.get("message")
        if isinstance(message, dict):
            return _identify_order(entry_id, message)
    elif function == GET_CLOSE_ORDERS:
        return _identify_question(entry_id, body)
    elif function == CREATE_USER:
        with suppress(RejectedEntry):
            user_id = usable_id(user_fields(body)[0])
            return Identity(CREATE_USER, f"{CREATE_USER}:{entry_id}", _summary_of_user(user_id), user_id, None)
    return _not_a_command(entry_id, f"function {shown(body.get('function', function))}")


def identify_undecodable(entry_id: str) -> Identity:
    """Name, id and summary of the task for an entry that cannot be read as a command."""
    return _not_a_command(entry_id, "unreadable")


def _not_a_command(entry_id: str, summary: str) -> Identity:
    return Identity(INVALID_ENTRY, f"{INVALID_ENTRY}:{entry_id}", summary, None, None)


def _identify_order(entry_id: str, message: dict[str, Any]) -> Identity:
    order_id = usable_id(message.get("orderId"))
    user_id = usable_id(message.get("userId"))
    task_id = f"{CREATE_CLOSE_ORDER}:{order_id or entry_id}"
    summary = without_emails(f"orderId {order_id or '?'}, userId {user_id or '?'}")
    return Identity(CREATE_CLOSE_ORDER, task_id, summary, user_id, order_id)


def _identify_question(entry_id: str, body: dict[str, Any]) -> Identity:
    request_id = request_id_of(body)
    if isinstance(request_id, int | float):
        request_id = number_text(request_id)
    user_id = usable_id(asked_user(body))
    task_id = f"{GET_CLOSE_ORDERS}:{request_id[:ID_CHARACTERS] if request_id else entry_id}"
    return Identity(GET_CLOSE_ORDERS, task_id, _summary_of_user(user_id), user_id, None)


def _summary_of_user(user_id: str | None) -> str:
    return without_emails(f"userId {user_id or '?'}")
