"""What the page Failed shows, as its URL says it: filter, sorting and page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from dbstorage.failed_tasks.filters import OPEN_STATES, Filter, State, parse_ids, parse_moment
from dbstorage.failed_tasks.groups import By, Group
from dbstorage.failed_tasks.lookup import NEWEST_FIRST, SortColumn, Sorting

#: The words for states in the URL; without one the first counts.
STATES: dict[str, tuple[State, ...]] = {
    "open": OPEN_STATES,
    **{state.value: (state,) for state in State},
    "all": (),
}
#: Names in the address -> fields of the filter.
FIELDS = {
    "code": "code",
    "function": "function",
    "user": "user_id",
    "order": "order_id",
    "task_id": "task_id",
    "text": "text",
    "sentence": "sentence",
}
#: Names in the address that hold a moment: `24h` (ago), `2026-05-05`.
MOMENTS = ("since", "until")
SIZES = (25, 50, 100, 250, 500)
DEFAULT_SIZE = 50

Arguments = Mapping[str, Sequence[bytes]]


@dataclass(frozen=True)
class View:
    """A part of the table; `values` are the filter's fields as they stand in the address."""

    which: Filter
    state: str
    values: dict[str, str]
    sorting: Sorting
    page: int
    size: int
    #: What tasks are grouped by; None for a table of tasks.
    by: By | None = None

    @property
    def offset(self) -> int:
        """Tasks on the pages before."""
        return (self.page - 1) * self.size

    @property
    def filter_query(self) -> str:
        """The filter alone, as a query string."""
        return urlencode({**self.values, "state": self.state})

    def query(self, **changes: str | int) -> str:
        """The query string of this view with these changes; an empty value leaves its name out."""
        sort = f"{'-' if self.sorting.descending else ''}{self.sorting.column}"
        by = self.by.value if self.by else ""
        parameters = {**self.values, "by": by, "state": self.state, "sort": sort, "size": self.size, "page": 1}
        parameters |= changes
        return urlencode({name: value for name, value in parameters.items() if value != ""})

    def can_name(self, group: Group) -> bool:
        """Whether a filter can select this group alone: not if it has no user, or a userId with blanks around it."""
        return bool(group.what) and group.what == (group.what or "").strip() and group.code == group.code.strip()

    def group_query(self, group: Group) -> str:
        """The filter that means one of the groups, as a query string."""
        return urlencode({**self.values, "state": self.state, **self.of_group(group)})

    def of_group(self, group: Group) -> dict[str, str]:
        """The filter's fields that select one of the groups."""
        assert self.by is not None
        assert group.what is not None
        return {"code": group.code, self.by.value: group.what}

    def sorted_by(self, column: SortColumn) -> str:
        """The query string that sorts by this column, the other way round where it is sorted by it now."""
        descending = self.sorting.column is column and not self.sorting.descending
        return self.query(sort=f"{'-' if descending else ''}{column}")


def read_view(arguments: Arguments) -> View:
    """The view that a page's address asks for; raises ValueError with a sentence."""
    values = _texts(arguments)
    name = values.pop("sort", "")
    sorting = NEWEST_FIRST
    if name:
        try:
            sorting = Sorting(SortColumn(name.removeprefix("-")), name.startswith("-"))
        except ValueError:
            raise ValueError(
                f"sort is {name!r}: expected one of {', '.join(SortColumn)}, with - for descending."
            ) from None
    size = _number("size", values.pop("size", ""), DEFAULT_SIZE)
    if size not in SIZES:
        raise ValueError(f"size is {size}: expected one of {', '.join(map(str, SIZES))}.")
    page = _number("page", values.pop("page", ""), 1)
    by = values.pop("by", "")
    if by and by not in set(By):
        raise ValueError(f"by is {by!r}: expected one of {', '.join(By)}.")
    which = read_filter(arguments)
    state = values.get("state") or _default_state(values)
    kept = {name: value for name, value in values.items() if name in (*FIELDS, *MOMENTS, "ids")}
    return View(which, state, kept, sorting, page, size, By(by) if by else None)


def read_filter(arguments: Arguments) -> Filter:
    """The filter that an address, or a form, holds; raises ValueError with a sentence."""
    values = _texts(arguments)
    state = values.get("state") or _default_state(values)
    if state not in STATES:
        raise ValueError(f"state is {state!r}: expected one of {', '.join(STATES)}.")
    bounds: dict[str, Any] = {name: parse_ids([values[name]])[0] for name in ("up_to", "newer_than") if name in values}
    now = datetime.now(UTC)
    moments: dict[str, Any] = {name: parse_moment(values[name], now) for name in MOMENTS if name in values}
    texts: dict[str, Any] = {field: values[name] for name, field in FIELDS.items() if name in values}
    return Filter(
        ids=parse_ids(values["ids"].split(",")) if "ids" in values else (),
        states=STATES[state],
        **bounds,
        **moments,
        **texts,
    )


def _default_state(values: Mapping[str, str]) -> str:
    """The state where the URL names none: any state if it names tasks, since who does wants to see them anyway."""
    return "all" if "ids" in values or "task_id" in values else "open"


def _texts(arguments: Arguments) -> dict[str, str]:
    """The last value of each argument; empty ones are left out, as an empty field of a form means nothing."""
    try:
        texts = {name: values[-1].decode().strip() for name, values in arguments.items()}
    except UnicodeDecodeError:
        raise ValueError("The address holds something that is not UTF-8.") from None
    return {name: text for name, text in texts.items() if text}


def _number(name: str, text: str, default: int) -> int:
    if not text:
        return default
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or int(text) < 1:
        raise ValueError(f"{name} is {text!r}: expected a whole number from 1 on.")
    return int(text)
