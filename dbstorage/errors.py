"""The errors of DBStorage; each says in a sentence what is wrong and what a person can do about it."""


class DBStorageError(Exception):
    """Base of every error this package raises on purpose; `str(error)` is a sentence a person can act on."""


class SettingsError(DBStorageError):
    """Raised when environment variables are wrong; `sentences` names each of them."""

    def __init__(self, sentences: list[str]) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


class RejectedEntry(DBStorageError):
    """Raised when a command breaks a rule of the contract; `code` names the rule, e.g. `invalid_symbol`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class DatabaseNotReadyError(DBStorageError):
    """Raised when the database answers but its tables are missing, unusable or not migrated."""


class DatabaseUnavailableError(DBStorageError):
    """Raised when PostgreSQL cannot be used at the moment; the work stays pending and is tried again."""


class SessionLostError(DatabaseUnavailableError):
    """Raised when PostgreSQL went away in the midst of a transaction, which may be what it went away for."""


class LockedError(DatabaseUnavailableError):
    """Raised when another session holds a lock for longer than we wait; the sentence names it."""


class DatabaseFaultError(DatabaseUnavailableError):
    """Raised when PostgreSQL refuses what it should take; the sentence says what mends it, and until then all waits."""


class ReplayRunningError(DatabaseUnavailableError):
    """Raised while a replay of the stream runs, which nobody else may write beside; all waits until it has ended."""


class OtherDatabaseError(DatabaseFaultError):
    """Raised where this is not the database, or not its latest state, that the service was stored in; all waits."""


class RedisUnavailableError(DBStorageError):
    """Raised when Redis cannot be used at the moment; the work stays pending and is tried again."""


class EmbeddedServerError(DBStorageError):
    """Raised when an embedded PostgreSQL or Redis cannot be started; the sentence says what is missing."""
