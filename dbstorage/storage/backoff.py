"""Which failures are tried again without an operator, and after which pause."""

from dbstorage.codes import DATABASE_ERROR, USER_LOCKED, USER_NOT_FOUND, USER_QUEUED

#: Back-off of an order whose user is missing: seconds until the next attempt, by attempts made; the last one repeats.
USER_PAUSES = (1.0, 2.0, 4.0, 8.0)
#: The same for a `database_error`: the database refuses the entry and takes others of its kind. Because the last pause
#: repeats, it is stored by itself when the database is mended.
ERROR_PAUSES = (1.0, 4.0, 15.0, 60.0, 300.0)
#: The same for a command that waits for a locked row, and for one that is queued behind it. The latter is woken when
#: the row is free. Its pause is short all the same, because whoever is being recorded at that moment is not woken.
LOCK_PAUSES = {USER_LOCKED: 2.0, USER_QUEUED: 5.0}


def next_attempt(code: str | None, attempts: int, waited: float, user_wait: float) -> float | None:
    """Seconds until a failed task is tried again by itself, None when it is left to the operators.

    `attempts` were made so far, the first one `waited` seconds ago. An order waits for its user until `user_wait` is
    over; the last attempt falls on its end.
    """
    if code == USER_NOT_FOUND and waited < user_wait:
        return min(USER_PAUSES[min(attempts, len(USER_PAUSES)) - 1], user_wait - waited)
    if code == DATABASE_ERROR:
        return ERROR_PAUSES[min(attempts, len(ERROR_PAUSES)) - 1]
    return LOCK_PAUSES.get(code or "")
