"""One entry on its way through a batch."""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple
from uuid import uuid4

import msgspec

from dbstorage.commands.decode import decode
from dbstorage.commands.interpret import identify, identify_undecodable, interpret
from dbstorage.commands.kinds import Identity
from dbstorage.commands.orders import CloseOrder
from dbstorage.commands.ordinary import ordinary_command
from dbstorage.commands.questions import HistoryQuestion
from dbstorage.commands.registry import function_of
from dbstorage.commands.users import CreateUser
from dbstorage.errors import RejectedEntry
from dbstorage.storage.outcome import Outcome
from dbstorage.wire.entry import Request, StreamEntry


class Record(NamedTuple):
    """The row of a failed task that is run again; `version` tells whether anybody has changed it since it was read."""

    id: int
    version: str
    task_id: str
    #: How many attempts were made so far, the first one `waited` seconds ago.
    attempts: int
    waited: float
    #: Whether the entry is from an earlier life of the stream, so that its id says nothing about its place.
    earlier_life: bool = False
    #: Whether it is an order whose user was not there at the attempt before.
    waits_for_user: bool = False


class Work(msgspec.Struct, eq=False):  # made, and forgotten, in a third of a dataclass's time
    """An entry with what was understood of it and, once decided, its outcome.

    `entry` is None for a task that was called through the broker; `task_id` is then the id it was called by. `record`
    is None at a first attempt. `decoded` is None where nobody has needed it, and where the entry cannot be decoded.
    """

    entry: StreamEntry | None
    decoded: Request | None
    command: CloseOrder | CreateUser | HistoryQuestion | RejectedEntry
    outcome: Outcome | None = None
    task_id: str | None = None
    record: Record | None = None

    @property
    def request(self) -> Request | None:
        """The decoded entry, or the call; None where the entry cannot be decoded."""
        if self.decoded is None and self.entry is not None and not isinstance(self.command, RejectedEntry):
            self.decoded = decode(self.entry)
        return self.decoded

    @property
    def function(self) -> str:
        """The name of its task."""
        return function_of(type(self.command)) or self.identity.name

    @property
    def identity(self) -> Identity:
        """Task name and id; computed only where a row or an answer needs it."""
        request = self.request
        if request is not None:
            return identify(request)
        return identify_undecodable(self.entry.id if self.entry else "")


def functions_of(works: Sequence[Work]) -> list[str]:
    """The names of their tasks."""
    kinds = {type(work.command) for work in works}
    if len(kinds) == 1 and (name := function_of(kinds.pop())) is not None:
        return [name] * len(works)
    return [work.function for work in works]


def understand(entry: StreamEntry, history_limit: int) -> Work:
    """Decode and validate one entry; never raises."""
    ordinary = ordinary_command(entry)
    if ordinary is not None:
        return Work(entry, None, ordinary)
    try:
        request = decode(entry)
    except RejectedEntry as rejection:
        return Work(entry, None, _alone(rejection))
    return understand_request(request, history_limit, entry)


def not_interpreted(entry: StreamEntry, rejection: RejectedEntry) -> Work:
    """An entry that is rejected without a look at its command; never raises."""
    with suppress(RejectedEntry):
        return Work(entry, decode(entry), rejection)
    return Work(entry, None, rejection)


def understand_request(request: Request, history_limit: int, entry: StreamEntry | None = None) -> Work:
    """Validate a decoded entry, or a broker call; never raises."""
    try:
        return Work(entry, request, interpret(request, history_limit))
    except RejectedEntry as rejection:
        return Work(entry, request, _alone(rejection))


def another_like(work: Work) -> Work:
    """The same command with a key of its own: one that is stored already would meet no trigger."""
    command, key = work.command, uuid4().hex
    if isinstance(command, CloseOrder):
        return Work(work.entry, None, command._replace(order_id=key))
    if isinstance(command, CreateUser):
        return Work(work.entry, None, CreateUser(key, f"{key}@example.com"))
    return work


def _alone(rejection: RejectedEntry) -> RejectedEntry:
    """The rejection without where it came from: its frames would keep the whole batch in memory, and it them."""
    rejection.__traceback__ = rejection.__context__ = rejection.__cause__ = None
    return rejection
