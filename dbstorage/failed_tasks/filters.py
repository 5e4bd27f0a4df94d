"""The filter that selects failed tasks, shared by the command line and the page Failed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, LargeBinary, bindparam, func, literal, or_
from sqlalchemy.dialects.postgresql import ARRAY

from dbstorage.database.tables import failed_tasks

#: The largest number that the column `id` takes.
LARGEST_ID = 2**63 - 1


class State(StrEnum):
    """The states of a failed task."""

    FAILED = "failed"
    RETRYING = "retrying"
    RESOLVED = "resolved"
    DISCARDED = "discarded"


#: States of tasks that are not done with: somebody, or the service, may still act on them.
OPEN_STATES = (State.FAILED, State.RETRYING)


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A task has to match every field that is set; a filter in which nothing is set matches all tasks.

    `text` is searched for in the task id and the sentence, ignoring case, and in the payload, as written. `up_to` is an
    id: larger ones do not match, which leaves out tasks that failed after the operator looked. Raises ValueError with a
    sentence for a value that no task can have.
    """

    ids: tuple[int, ...] = ()
    states: tuple[State, ...] = ()
    code: str | None = None
    function: str | None = None
    user_id: str | None = None
    order_id: str | None = None
    task_id: str | None = None
    entry_id: str | None = None
    text: str | None = None
    #: The sentence on what happened: a task's own, or that of a group, with `…` in the place of each value.
    sentence: str | None = None
    up_to: int | None = None
    #: Only ids beyond this one.
    newer_than: int | None = None
    #: The last failure was at this moment or later, and before `until`.
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        for number in (*self.ids, *(bound for bound in (self.up_to, self.newer_than) if bound is not None)):
            if not 0 <= number <= LARGEST_ID:
                raise ValueError(
                    f"{number} is not the id of a failed task: expected a whole number up to {LARGEST_ID}."
                )
        texts = (self.code, self.function, self.user_id, self.order_id, self.task_id, self.entry_id)
        for value in (*texts, self.text, self.sentence):
            if value is not None and not _storable(value):
                raise ValueError(f"The filter has {value!r}: expected some text, in UTF-8 and without NUL characters.")

    @property
    def selects(self) -> bool:
        """Whether anything is set."""
        return self != Filter()

    def described(self) -> dict[str, Any]:
        """What is set, as JSON takes it."""
        set_fields = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value.astimezone(UTC).isoformat(timespec="seconds") if isinstance(value, datetime) else value
            for name, value in set_fields.items()
            if value not in (None, ())
        }

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
            (table.entry_id, self.entry_id),
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
        if self.sentence is not None:
            found.append(general_sentence(table.message) == general_sentence(literal(self.sentence)))
        if self.up_to is not None:
            found.append(table.id <= self.up_to)
        if self.newer_than is not None:
            found.append(table.id > self.newer_than)
        if self.since is not None:
            found.append(table.last_failed_at >= self.since)
        if self.until is not None:
            found.append(table.last_failed_at < self.until)
        return found


#: The values in a sentence that differ from task to task: quoted text and numbers.
_VALUES = r"""('[^']*'|"[^"]*"|\y[0-9][0-9.:-]*\y)"""


def general_sentence(message: ColumnElement[Any]) -> ColumnElement[str]:
    """SQL for a sentence with `…` for each value in it; one that has them already stays as it is."""
    return func.regexp_replace(message, _VALUES, "…", "g")


def parse_ids(words: Sequence[str]) -> tuple[int, ...]:
    """The ids in these words; raises ValueError with a sentence."""
    for word in words:
        if not (word.isascii() and word.isdecimal()) or len(word) > 19:
            raise ValueError(f"{word!r} is not the id of a failed task: expected a whole number such as 17.")
    return tuple(int(word) for word in words)


def parse_moment(text: str, now: datetime) -> datetime:
    """A moment as a person writes it: ISO 8601 (without offset in UTC), or how long ago, such as 90s, 15m, 24h, 7d.

    Raises ValueError with a sentence.
    """
    ago = re.fullmatch(r"([0-9]{1,6})\s*([smhd])", text.strip())
    try:
        if ago:
            return now - int(ago[1]) * _UNITS[ago[2]]
        moment = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no moment: expected one such as 2026-05-05, 2026-05-05T22:08:00Z or 24h (ago)."
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


_UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def _storable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    # Every task contains an empty text, and nobody who types one means to retry or discard all of them.
    return value != "" and "\0" not in value
