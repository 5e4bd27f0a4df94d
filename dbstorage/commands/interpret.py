"""What a request means: a command to carry out, and how its task is called."""

from typing import Any

from dbstorage.commands.kinds import Identity
from dbstorage.commands.registry import INVALID_ENTRY, KINDS, expected_functions
from dbstorage.commands.rejections import shown
from dbstorage.errors import RejectedEntry
from dbstorage.wire.entry import Request


def interpret(request: Request, history_limit: int) -> Any:
    """The command of a request; raises RejectedEntry with the code of the first rule it breaks.

    `history_limit` is the number of orders for a question that names none.
    """
    function, body = request.function, request.body
    if function is None:
        raise RejectedEntry("invalid_entry", f"function is {shown(body.get('function'))}; {expected_functions()}.")
    kind = KINDS.get(function)
    if kind is None:
        raise RejectedEntry("unknown_function", f"function is {shown(function)}; {expected_functions()}.")
    return kind.interpret(body, history_limit)


def identify(request: Request) -> Identity:
    """Name, id and summary of the task for a request; never raises."""
    entry_id, function, body = request.entry_id or "", request.function, request.body
    kind = KINDS.get(function or "")
    identity = kind.identify(entry_id, body) if kind is not None else None
    return identity or _not_a_command(entry_id, f"function {shown(body.get('function', function))}")


def identify_undecodable(entry_id: str) -> Identity:
    """Name, id and summary of the task for an entry that cannot be read as a command."""
    return _not_a_command(entry_id, "unreadable")


def _not_a_command(entry_id: str, summary: str) -> Identity:
    return Identity(INVALID_ENTRY, f"{INVALID_ENTRY}:{entry_id}", summary, None, None)
