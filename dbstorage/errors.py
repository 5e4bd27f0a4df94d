"""The errors of DBStorage: each has a code for programs and a sentence for people."""

from typing import ClassVar


class DBStorageError(Exception):
    """Base of every error this package raises on purpose; `str(error)` is a sentence a person can act on."""

    code: ClassVar[str] = "error"


class SettingsError(DBStorageError):
    """Raised when environment variables are wrong; `sentences` names each of them."""

    code = "invalid_settings"

    def __init__(self, sentences: list[str]) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


class RejectedEntry(DBStorageError):
    """Raised when a command breaks a rule of the contract; `code` names the rule, e.g. `invalid_symbol`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # each rule has its own code


class DatabaseNotReadyError(DBStorageError):
    """Raised when the database answers but its tables are missing, unusable or not migrated."""

    code = "database_not_ready"


class DatabaseUnavailableError(DBStorageError):
    """Raised when PostgreSQL cannot be used at the moment; the work stays pending and is tried again."""

    code = "database_unavailable"


class DatabaseFaultError(DatabaseUnavailableError):
    """Raised when PostgreSQL refuses what it should take; the sentence says what mends it, and until then all waits."""

    code = "database_fault"


class OtherDatabaseError(DatabaseFaultError):
    """Raised where this is not the database, or not its latest state, that the service was stored in; all waits."""

    code = "other_database"


class RedisUnavailableError(DBStorageError):
    """Raised when Redis cannot be used at the moment; the work stays pending and is tried again."""

    code = "redis_unavailable"


class EmbeddedServerError(DBStorageError):
    """Raised when an embedded PostgreSQL or Redis cannot be started; the sentence says what is missing."""

    code = "embedded_server"
