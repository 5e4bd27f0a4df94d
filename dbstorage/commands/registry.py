"""The commands that the service knows. CONTRIBUTING.md has the way of a new one."""

from contextlib import suppress
from typing import Any

from dbstorage.commands.kinds import CommandKind, Identity
from dbstorage.commands.numbers import number_text
from dbstorage.commands.orders import CloseOrder, close_order
from dbstorage.commands.questions import HistoryQuestion, asked_user, history_question, request_id_of
from dbstorage.commands.rejections import shown, without_emails
from dbstorage.commands.text import ID_CHARACTERS, usable_id
from dbstorage.commands.users import CreateUser, create_user, user_fields
from dbstorage.errors import RejectedEntry
from dbstorage.wire.entry import CREATE_CLOSE_ORDER, CREATE_USER, GET_CLOSE_ORDERS

#: The name of the task of an entry that is no command.
INVALID_ENTRY = "invalidEntry"
FAILURES = ("failed", "retrying")


def _interpret_order(body: dict[str, Any], _history_limit: int) -> CloseOrder:
    message = body.get("message")
    if not isinstance(message, dict):
        raise RejectedEntry(
            "invalid_entry", f"The message of createCloseOrder is {shown(message)}; expected the order, an object."
        )
    return close_order(message)


def _identify_order(entry_id: str, body: dict[str, Any]) -> Identity | None:
    message = body.get("message")
    if not isinstance(message, dict):
        return None
    order_id = usable_id(message.get("orderId"))
    user_id = usable_id(message.get("userId"))
    task_id = f"{CREATE_CLOSE_ORDER}:{order_id or entry_id}"
    summary = without_emails(f"orderId {order_id or '?'}, userId {user_id or '?'}")
    return Identity(CREATE_CLOSE_ORDER, task_id, summary, user_id, order_id)


def _identify_user(entry_id: str, body: dict[str, Any]) -> Identity | None:
    with suppress(RejectedEntry):
        user_id = usable_id(user_fields(body)[0])
        return Identity(CREATE_USER, f"{CREATE_USER}:{entry_id}", summary_of_user(user_id), user_id, None)
    return None


def _identify_question(entry_id: str, body: dict[str, Any]) -> Identity:
    request_id = request_id_of(body)
    if isinstance(request_id, int | float):
        request_id = number_text(request_id)
    user_id = usable_id(asked_user(body))
    task_id = f"{GET_CLOSE_ORDERS}:{request_id[:ID_CHARACTERS] if request_id else entry_id}"
    return Identity(GET_CLOSE_ORDERS, task_id, summary_of_user(user_id), user_id, None)


def summary_of_user(user_id: str | None) -> str:
    """How a command that is about a user is shown."""
    return without_emails(f"userId {user_id or '?'}")


#: By name; `register` adds to it.
KINDS: dict[str, CommandKind] = {
    kind.name: kind
    for kind in (
        CommandKind(
            name=CREATE_CLOSE_ORDER,
            summary="Store a closed order.",
            flat_fields=("message",),
            call_fields=None,
            command=CloseOrder,
            interpret=_interpret_order,
            identify=_identify_order,
            outcomes=("stored", "duplicate", *FAILURES),
            is_kept=True,
            look="dbstorage.audit.looks:look_at_orders",
        ),
        CommandKind(
            name=CREATE_USER,
            summary="Create or change a user.",
            flat_fields=("message", "userId", "userEmail"),
            call_fields=("userId", "userEmail"),
            command=CreateUser,
            interpret=lambda body, _history_limit: create_user(body),
            identify=_identify_user,
            outcomes=("created", "updated", "unchanged", "superseded", *FAILURES),
            is_kept=True,
            look="dbstorage.audit.looks:look_at_users",
        ),
        CommandKind(
            name=GET_CLOSE_ORDERS,
            summary="Answer with a user's closed orders on the response stream; needs a requestId.",
            flat_fields=("message", "userId", "limit", "cursor", "detail"),
            call_fields=("userId", "requestId", "correlationId", "limit", "cursor", "detail"),
            command=HistoryQuestion,
            interpret=history_question,
            identify=_identify_question,
            outcomes=("answered", "expired", "failed"),
            is_kept=False,
        ),
    )
}
#: The same, by the type of the command.
BY_COMMAND = {kind.command: kind for kind in KINDS.values()}


def register(kind: CommandKind) -> None:
    """Add a kind of command, before the Celery application is made."""
    KINDS[kind.name] = kind
    BY_COMMAND[kind.command] = kind


def kind_of(command: type) -> CommandKind | None:
    """The kind of the command of this type; None where it is none."""
    return BY_COMMAND.get(command)


def function_of(command: type) -> str | None:
    """The name of the command of this type; None where it is none."""
    kind = BY_COMMAND.get(command)
    return None if kind is None else kind.name


def kept_functions() -> tuple[str, ...]:
    """The names of tasks that are kept when they fail."""
    return (*(kind.name for kind in KINDS.values() if kind.is_kept), INVALID_ENTRY)


def expected_functions() -> str:
    """The names of all commands, as the end of a sentence."""
    *first, last = KINDS
    return f"expected {', '.join(first)} or {last}"
