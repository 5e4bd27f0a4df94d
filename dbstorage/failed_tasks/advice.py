"""What a person does about a failed task, by its code."""

from dbstorage.storage.alone import POISON
from dbstorage.storage.batch import INTERNAL_ERROR
from dbstorage.storage.failures import (
    DATABASE_ERROR,
    INVALID_VALUE,
    NOT_STORED,
    ORDER_CONFLICT,
    USER_LOCKED,
    USER_NOT_FOUND,
    USER_QUEUED,
)
from dbstorage.storage.writes import USER_CONFLICT
from dbstorage.wire.entry import TOO_LARGE

#: From dbstorage.commands.interpret.
UNKNOWN_FUNCTION = "unknown_function"
_AFTER_AN_UPDATE = "Look into the worker's log for what goes wrong; retry it when that is mended."
#: For codes that say which rule a command breaks (`invalid_…`, `unknown_function`).
_BREAKS_A_RULE = "Have its sender mended and the command sent anew; discard this one, which would fail again."
_IT_WAITS = "End the transaction named, if it has been forgotten; the rest comes by itself."

_BY_CODE = {
    USER_NOT_FOUND: "Nothing, if the user is still to come: its createUser puts this order back to work.",
    ORDER_CONFLICT: "Compare it with the stored order, which stays as it is; then discard this one.",
    USER_CONFLICT.code: "Correct one of the two users in the database, then retry it.",
    INVALID_VALUE: "Compare its value with what the constraint named takes; retry it when one of the two is mended.",
    DATABASE_ERROR: "Mend what PostgreSQL complains of; it is tried again by itself, every five minutes at the latest.",
    USER_LOCKED: _IT_WAITS,
    USER_QUEUED: _IT_WAITS,
    NOT_STORED: "Look at the triggers and rules of the table; retry it when they let the row through.",
    TOO_LARGE: "Discard it, or raise MAX_ENTRY_BYTES and retry it while the stream still holds the entry.",
    POISON: _AFTER_AN_UPDATE,
    INTERNAL_ERROR: _AFTER_AN_UPDATE,
}


#: Codes that a task can fail with, beside `invalid_…`, which name the rule that is broken.
CODES: tuple[str, ...] = (*map(str, _BY_CODE), UNKNOWN_FUNCTION)


def advice(code: str) -> str:
    """One or two sentences on what to do about a task that failed with this code."""
    return _BY_CODE.get(code, _BREAKS_A_RULE)
