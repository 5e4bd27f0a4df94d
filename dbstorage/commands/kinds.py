"""Describes a command in one object, from which everything else that knows of commands is derived."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Identity(NamedTuple):
    """How the task of an entry is called: `name` is its function, or `invalidEntry`; `summary` is shown in Flower.

    `user_id` and `order_id` are None where the entry has none that could be stored.
    """

    name: str
    task_id: str
    summary: str
    user_id: str | None
    order_id: str | None


class CommandKind(NamedTuple):
    """A kind of command: Celery's task, decoding, metrics, filters and the audit are derived from it."""

    #: The wire's `function`, and the name of the Celery task.
    name: str
    #: What the Celery task says of itself.
    summary: str
    #: The fields of the flat layout that it needs, beside `function`.
    flat_fields: tuple[str, ...]
    #: What a call through the broker may name beside `message`; None where it may name the message's own fields.
    call_fields: tuple[str, ...] | None
    #: The type of what `interpret` makes.
    command: type
    #: Makes the command from the body of a request and the number of orders for a question that names none; raises
    #: RejectedEntry.
    interpret: Callable[[dict[str, Any], int], Any]
    #: Name, id and summary of its task from the entry id and the body; None where the body says too little.
    identify: Callable[[str, dict[str, Any]], Identity | None]
    #: Every outcome that it can come to.
    outcomes: tuple[str, ...]
    #: Whether its failures are kept as failed tasks.
    is_kept: bool
    #: What writes a set of them, as `module:function`: a Writer of storage/writes.py. None for orders and users, which
    #: that file writes itself, and for questions.
    writer: str | None = None
    #: What looks in the database whether those that are acknowledged took effect, as `module:function`: a Look of
    #: audit/outcomes.py. None where nothing in the database would show it.
    look: str | None = None
