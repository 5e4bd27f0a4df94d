"""Which failed tasks are meant: the filter that the command line and the Failed page share."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import BigInteger, ColumnElement, LargeBinary, bindparam, func, or_
from sqlalchemy.dialects.postgresql import ARRAY

from dbstorage.commands.interpret import INVALID_ENTRY
from dbstorage.database.tables import failed_tasks
from dbstorage.wire.entry import CREATE_CLOSE_ORDER, CREATE_USER

#: Tasks that are kept when they fail; a question is not.
FUNCTIONS = (CREATE_CLOSE_ORDER, CREATE_USER, INVALID_ENTRY)
#: The largest number that the column `id` takes.
LARGEST_ID = 2**63 - 1


class State(StrEnum):
    """The states of a failed task."""

    FAILED = "failed"
    RETRYING = "retrying"
    RESOLVED = "resolved"
    DISCARDED = "discarded"


#: States in which something is still to be done.
OPEN_STATES = (State.FAILED, State.RETRYING)


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What is set has to match, all of it; one in which nothing is set matches every task.

    `text` is looked for in the task id and the sentence, in any case, and in the payload, as written. `up_to` leaves
    out tasks that failed after somebody looked: ids beyond it do not match. Raises ValueError with a sentence where
    a value can never be stored.
    """

    ids: tuple[int, ...] = ()
    states: tuple[State, ...] = ()
    code: str | None = None
    function: str | None = None
    user_id: str | None = None
    order_id: str | None = None
    task_id: str | None = None
    text: str | None = None
    up_to: int | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        for number in (*self.ids, *((self.up_to,) if self.up_to is not None else ())):
            if not 0 <= number <= LARGEST_ID:
                raise ValueError(
                    f"{number} is not the id of a failed task: expected a whole number up to {LARGEST_ID}."
                )
        for value in (self.code, self.function, self.user_id, self.order_id, self.task_id, self.text):
            if value is not None and not _storable(value):
                raise ValueError(f"The filter has {value!r}: expected some text, in UTF-8 and without NUL characters.")

    @property
    def selects(self) -> bool:
        """Whether anything is set."""
        return self != Filter()

    def conditions(self) -> list[ColumnElement[bool]]:
        """The filter as SQL; every value is a parameter."""
        table = failed_tasks.c
        found: list[ColumnElement[bool]] = []
        if self.ids:
            # One parameter, however many there are.
            found.append(table.id == func.any(bindparam("ids", list(self.ids), type_=ARRAY(BigInteger))))
        if self.states:
            found.append(table.state.in_([state.value for state in self.states]))
        for column, value in (
            (table.code, self.code),
            (table.function, self.function),
            (table.user_id, self.user_id),
            (table.order_id, self.order_id),
            (table.task_id, self.task_id),
        ):
            if value is not None:
                found.append(column == value)
        if self.text is not None:
            # In bytes: a payload need not be text.
            part = bindparam("part", self.text.encode(), type_=LargeBinary)
            found.append(
                or_(
                    table.message.icontains(self.text, autoescape=True),
                    table.task_id.icontains(self.text, autoescape=True),
                    func.position(part.op("IN")(table.payload)) > 0,
                )
            )
        if self.up_to is not None:
            found.append(table.id <= self.up_to)
        return found


def parse_ids(words: Sequence[str]) -> tuple[int, ...]:
    """The ids in these words; raises ValueError with a sentence."""
    for word in words:
        if not (word.isascii() and word.isdecimal()) or len(word) > 19:
            raise ValueError(f"{word!r} is not the id of a failed task: expected a whole number such as 17.")
    return tuple(int(word) for word in words)


def _storable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    # An empty text would be found everywhere, which nobody means who retries or discards what it matches.
    return value != "" and "\0" not in value
