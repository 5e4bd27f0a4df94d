"""Every code of a failure or of an answer: what it means, what a person does about it, and who is at fault."""

from enum import StrEnum
from typing import NamedTuple

USER_NOT_FOUND = "user_not_found"
ORDER_CONFLICT = "order_conflict"
USER_CONFLICT = "user_conflict"
#: PostgreSQL refuses a value of the entry.
INVALID_VALUE = "invalid_value"
DATABASE_ERROR = "database_error"
#: Somebody else holds the lock of the user's row.
USER_LOCKED = "user_locked"
#: An earlier command of the same user waits for its row.
USER_QUEUED = "user_queued"
#: PostgreSQL refused nothing, and yet there is no row.
NOT_STORED = "not_stored"
TOO_LARGE = "too_large"
POISON = "poison"
EXPIRED_QUESTION = "expired_question"
INTERNAL_ERROR = "internal_error"
UNAVAILABLE = "unavailable"
PAUSED = "paused"


class Fault(StrEnum):
    """Whose business it is."""

    SENDER = "sender"
    OPERATOR = "operator"
    DATABASE = "database"
    SERVICE = "service"
    NOBODY = "nobody"


class Code(NamedTuple):
    """One code."""

    meaning: str
    advice: str
    fault: Fault


_AFTER_AN_UPDATE = "Look into the worker's log for what goes wrong; retry it when that is mended."
_IT_WAITS = "End the transaction named, if it has been forgotten; the rest comes by itself."
_ASK_AGAIN = "Nothing: whoever asked may ask again."
_MEND_QUESTION = "Have its sender mended; nothing is kept of a question."

#: For codes that say which rule a command breaks.
BREAKS_A_RULE = Code(
    "The command breaks a rule of the contract.",
    "Have its sender mended and the command sent anew; discard this one, which would fail again.",
    Fault.SENDER,
)

#: Codes of failed tasks, beside `invalid_…`, which name the rule that is broken.
FAILURES: dict[str, Code] = {
    USER_NOT_FOUND: Code(
        "The order's user did not come in time.",
        "Nothing, if the user is still to come: its createUser puts this order back to work.",
        Fault.NOBODY,
    ),
    ORDER_CONFLICT: Code(
        "Another order with this orderId is stored.",
        "Compare it with the stored order, which stays as it is; then discard this one.",
        Fault.SENDER,
    ),
    USER_CONFLICT: Code(
        "The e-mail address belongs to one user and the userId to another.",
        "Correct one of the two users in the database, then retry it.",
        Fault.OPERATOR,
    ),
    INVALID_VALUE: Code(
        "A constraint of the table refuses a value of the command.",
        "Compare its value with what the constraint named takes; retry it when one of the two is mended.",
        Fault.SENDER,
    ),
    DATABASE_ERROR: Code(
        "The database refuses what it should take.",
        "Mend what PostgreSQL complains of; it is tried again by itself, every five minutes at the latest.",
        Fault.DATABASE,
    ),
    USER_LOCKED: Code("Another program holds the lock of a row that it needs.", _IT_WAITS, Fault.DATABASE),
    USER_QUEUED: Code("An earlier command of the same user waits for its row.", _IT_WAITS, Fault.DATABASE),
    NOT_STORED: Code(
        "A trigger or a rule of the table kept the row away.",
        "Look at the triggers and rules of the table; retry it when they let the row through.",
        Fault.DATABASE,
    ),
    TOO_LARGE: Code(
        "The entry is larger than MAX_ENTRY_BYTES.",
        "Discard it, or raise MAX_ENTRY_BYTES and retry it while the stream still holds the entry.",
        Fault.SENDER,
    ),
    POISON: Code("The processes that ran it, or the database, died of it.", _AFTER_AN_UPDATE, Fault.SERVICE),
    EXPIRED_QUESTION: Code("It is a question, and nobody waits for its answer any more.", "Discard it.", Fault.NOBODY),
    INTERNAL_ERROR: Code("It met a bug of ours.", _AFTER_AN_UPDATE, Fault.SERVICE),
    "unknown_function": BREAKS_A_RULE,
}

#: Codes that an answer carries as `error`, beside `invalid_…`.
ANSWERS: dict[str, Code] = {
    UNAVAILABLE: Code("The database cannot be used at the moment.", _ASK_AGAIN, Fault.NOBODY),
    PAUSED: Code("An operator has paused the service.", _ASK_AGAIN, Fault.OPERATOR),
    "missing_user_id": Code("The question names no user.", _MEND_QUESTION, Fault.SENDER),
}


def about(code: str) -> Code:
    """What is known of a code; one that is not listed names a rule that is broken."""
    return FAILURES.get(code) or ANSWERS.get(code) or BREAKS_A_RULE
