"""What a person does about a failed task, by its code."""

from dbstorage.storage.alone import POISON
from dbstorage.storage.batch import INTERNAL_ERROR
from dbstorage.storage.failures import DATABASE_ERROR, ORDER_CONFLICT, USER_NOT_FOUND
from dbstorage.storage.writes import USER_CONFLICT

_AFTER_AN_UPDATE = "Look into the worker's log for what goes wrong; retry it when that is mended."
#: For codes that say which rule a command breaks (`invalid_…`, `unknown_function`).
_BREAKS_A_RULE = "Have its sender mended and the command sent anew; discard this one, which would fail again."

_BY_CODE = {
    USER_NOT_FOUND: "Nothing, if the user is still to come: its createUser puts this order back to work.",
    ORDER_CONFLICT: "Compare it with the stored order, which stays as it is; then discard this one.",
    USER_CONFLICT.code: "Correct one of the two users in the database, then retry it.",
    DATABASE_ERROR: "Mend what PostgreSQL complains of, then retry it.",
    POISON: _AFTER_AN_UPDATE,
    INTERNAL_ERROR: _AFTER_AN_UPDATE,
}


def advice(code: str) -> str:
    """One or two sentences on what to do about a task that failed with this code."""
    return _BY_CODE.get(code, _BREAKS_A_RULE)
