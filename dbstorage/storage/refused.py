"""Examines what PostgreSQL refused: whose fault it is, and what mends it."""

from sqlalchemy import Connection

from dbstorage.codes import DATABASE_ERROR, INVALID_VALUE, NOT_STORED, USER_CONFLICT, USER_LOCKED
from dbstorage.database.catalog import constrained_columns
from dbstorage.database.refusal import UNIQUE, Blame, WrittenColumns, blame, remedy
from dbstorage.database.shape import CLOSE_REASON, MADE_COLUMNS, ORDER_NEEDS, USER_NEEDS, TableShape
from dbstorage.database.sqlstate import Diagnostics, ErrorClass, classify, describe, diagnostics_of
from dbstorage.database.tables import failed_tasks
from dbstorage.storage.outcome import Outcome, Status
from dbstorage.storage.users import KeptAwayError

_COLUMNS = {"User": frozenset(USER_NEEDS), "Orders": frozenset({*ORDER_NEEDS, CLOSE_REASON})}
#: The SQLSTATE of a statement that was cancelled.
TOO_SLOW = "57014"
_IDENTITIES = (frozenset({"userID"}), frozenset({"email"}))


class Refused(Exception):
    """Raised when the database refuses a transaction for a reason that repeating it at once does not mend."""

    def __init__(self, error: Exception, blame: Blame = Blame.OPEN, constrained: frozenset[str] | None = None) -> None:
        super().__init__(str(error))
        self.found: Diagnostics = diagnostics_of(error)
        self.blame = blame
        self.constrained = constrained
        self.locked = classify(error) is ErrorClass.LOCKED
        #: Whether session after session ended while it ran, and the database answers in others.
        self.ends_sessions = classify(error) is ErrorClass.OUTAGE
        self.took_too_long = self.found.sqlstate == TOO_SLOW and not self.found.raised
        self.kept_away = isinstance(error, KeptAwayError)
        self._described = describe(error)

    @property
    def sentence(self) -> str:
        """What is wrong, with what mends it where that is known."""
        if self.ends_sessions:
            return f"The database ended the session that ran it, each time, and answers otherwise: {self._described}."
        mend = (
            remedy(self.found, _written(self.found.schema), self.constrained) if self.blame is not Blame.ENTRY else ""
        )
        return f"The database refused it: {self._described}{f'; {mend}' if mend else ''}."

    @property
    def outcome(self) -> Outcome:
        """What becomes of an entry that is refused by itself."""
        if self.locked:
            return Outcome(Status.FAILED, USER_LOCKED, f"Another session holds a lock: {self._described}.")
        if self.kept_away:
            return Outcome(Status.FAILED, NOT_STORED, kept_away("User"))
        if self.blame is not Blame.ENTRY:
            return Outcome(Status.FAILED, DATABASE_ERROR, self.sentence)
        if self.found.table == "User" and self.found.sqlstate == UNIQUE:
            return Outcome(
                Status.FAILED,
                USER_CONFLICT,
                f'The unique index "{self.found.constraint}" takes this user for one that is there already; nothing '
                "was changed. Correct one of the two users, then retry.",
            )
        return Outcome(Status.FAILED, INVALID_VALUE, self.sentence)

    @property
    def names_remark(self) -> bool:
        """Whether it is closeReason that is refused: a remark never keeps an order from its row."""
        return CLOSE_REASON in (self.constrained or frozenset()) or self.found.column == CLOSE_REASON

    @property
    def may_be_about_text(self) -> bool:
        """Whether a text may be the reason, too long or not in the database's encoding: also one of a record's."""
        text = self.found.sqlstate[:2] in ("22", "54") and self.found.table not in _COLUMNS
        return text or self.found.table == failed_tasks.name

    @property
    def may_be_a_race(self) -> bool:
        """Whether another program may have created the same user at the same moment."""
        return self.found.sqlstate == UNIQUE and self.found.table == "User" and self.constrained in _IDENTITIES


def kept_away(table: str) -> str:
    """The sentence for a row that was neither written nor refused."""
    return (
        f'PostgreSQL refused nothing and yet there is no row: a trigger or a rule on "{table}" keeps it away. '
        "Retry it when that is mended."
    )


def examine(connection: Connection, shape: TableShape, error: Exception) -> Refused:
    """Find out whose fault a refusal is. `shape` was read after it; `connection` is not the one that met it."""
    found = diagnostics_of(error)
    constrained = None
    if found.constraint and found.table:
        constrained = constrained_columns(connection, found.schema, found.table, found.constraint)
    return Refused(error, blame(found, _written(shape.schema), constrained), constrained)


def _written(schema: str) -> WrittenColumns:
    return WrittenColumns(schema, _COLUMNS, MADE_COLUMNS)
