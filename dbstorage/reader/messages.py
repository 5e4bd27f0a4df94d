"""What the reader's core is told (events) and what it asks for (actions); plain data, without I/O.

Every question to Redis carries a number and its answer the same one, so no late answer is taken for another's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import msgspec

from dbstorage.commands.decode import is_question
from dbstorage.storage.outcome import Outcome, Report
from dbstorage.wire.entry import Fields, StreamEntry
from dbstorage.wire.entry_id import parse_entry_id


class Entry(msgspec.Struct, eq=False, gc=False):  # of all that is made for each entry of the stream, the dearest
    """An entry in hand. `deliveries` counts how often it was given to a process; `size` is what it takes, in bytes.

    `alone`: it is suspected of killing processes, so no other entry shares its job. `company`: how many entries its job
    may have at most, itself included; None where only BATCH_SIZE limits it.
    """

    id: str
    fields: Fields
    size: int
    deliveries: int = 1
    #: When it came in, in seconds since 1970; for people only.
    received: float = 0.0
    alone: bool = False
    company: int | None = None
    _position: tuple[int, int] | None = None
    _question: bool | None = None

    @property
    def position(self) -> tuple[int, int]:
        """Its place in the stream; places compare as the entries stand there."""
        if self._position is None:
            self._position = parse_entry_id(self.id)
        return self._position

    @property
    def question(self) -> bool:
        """Whether somebody waits for its answer; looked up only when the database is away."""
        if self._question is None:
            self._question = is_question(StreamEntry(self.id, self.fields))
        return self._question

    def __repr__(self) -> str:
        """The entry as a failed test shows it."""
        return f"Entry({self.id})"


class Kind(StrEnum):
    """What a pool job does."""

    #: Runs entries in stream order.
    RUN = "run"
    #: Answers questions with an error while nothing can be stored.
    ANSWER = "answer"
    #: Runs the failed tasks whose next attempt is due.
    RETRY = "retry"


@dataclass(slots=True, eq=False)
class Job:
    """A job that the pool has. One that is `ahead` is decoded and waits until it is told to begin.

    `since`: the last of three moments, in monotonic seconds: it was submitted, a process took it, it was told to begin.
    `began`: when it began, in seconds since 1970, for people only. `error`: what an ANSWER job tells.
    `held_seconds`: how long a fault of the database has been holding its entries.
    """

    number: int
    kind: Kind
    entries: list[Entry]
    ahead: bool
    since: float
    began: float = 0.0
    error: str = ""
    held_seconds: float = 0.0
    accepted: bool = False
    killed: bool = False

    @property
    def alone(self) -> bool:
        """Whether it holds a single suspect."""
        return len(self.entries) == 1 and self.entries[0].alone


class PendingEntry(NamedTuple):
    """An entry in the group's pending list, and how often it was delivered."""

    id: str
    deliveries: int


# Events


class Tick(NamedTuple):
    """Time has passed. This event comes several times a second."""


class LinkUp(NamedTuple):
    """Redis answers, this worker's name is its own, and the group is there."""


class LinkDown(NamedTuple):
    """The connections to Redis are gone, and with them every answer that was still to come."""


class LeaseAnswered(NamedTuple):
    """Whether the lease is ours, as far as Redis knew when it answered."""

    number: int
    mine: bool


class Claimed(NamedTuple):
    """Pending entries of other consumers were taken over, unless the lease is not ours; `more` may be left."""

    number: int
    mine: bool
    more: bool


class Listed(NamedTuple):
    """A page of our pending entries, in stream order; a page that is not `full` is the last one."""

    number: int
    pending: Sequence[PendingEntry]
    full: bool


class EntriesRead(NamedTuple):
    """Entries that were read; `size` is that of the whole reply, in bytes."""

    number: int
    entries: list[Entry]
    size: int


class Receiving(NamedTuple):
    """Bytes of a reply have come in, but not all of it."""

    number: int


class ReadTooLarge(NamedTuple):
    """The entries asked for are larger than the worker may hold in memory. They were not taken in, but are pending."""

    number: int


class Acknowledged(NamedTuple):
    """Redis has acknowledged these entries."""

    ids: tuple[str, ...]


class Accepted(NamedTuple):
    """A pool process has begun this job."""

    job: int


class Reported(NamedTuple):
    """A job came back."""

    job: int
    report: Report


class ProcessLost(NamedTuple):
    """The process that ran this job died."""

    job: int


class Forgotten(NamedTuple):
    """The pool has dropped a job that no process had begun."""

    job: int


class PoolSized(NamedTuple):
    """How many processes the pool has now."""

    processes: int


class SetAside(NamedTuple):
    """An operator tells this worker to leave the stream to others, or to take its turn again."""

    aside: bool


class Paused(NamedTuple):
    """An operator pauses the service, with a reason; None: it goes on."""

    reason: str | None


class Stop(NamedTuple):
    """The worker stops: no further job begins."""


class Finish(NamedTuple):
    """The pool is gone, and every job with it."""


Event = (
    Tick | LinkUp | LinkDown | LeaseAnswered | Claimed | Listed | EntriesRead | Receiving | ReadTooLarge | Acknowledged
    | Accepted | Reported | ProcessLost | Forgotten | PoolSized | SetAside | Paused | Stop | Finish
)  # fmt: skip

# Actions


class Read(NamedTuple):
    """Read entries that nobody has read."""

    number: int
    most: int


class ListPending(NamedTuple):
    """List our pending entries behind the entry `after`, or from the beginning ("")."""

    number: int
    after: str


class FetchPending(NamedTuple):
    """Read these pending entries again. `brief`: only their beginning and their length, because they are too large."""

    number: int
    pending: tuple[PendingEntry, ...]
    brief: bool


class Claim(NamedTuple):
    """Take over what others have pending: in strict order all of it, if the lease is ours; in parallel what is idle."""

    number: int


class AskLease(NamedTuple):
    """Take the lease, or renew it."""

    number: int


class GiveLease(NamedTuple):
    """Give the lease up, if it is ours."""


class Acknowledge(NamedTuple):
    """Acknowledge entries that are committed but whose job could not acknowledge them."""

    ids: tuple[str, ...]


class Release(NamedTuple):
    """Let other workers take these at once, where they are still pending for us. It does not count as a delivery."""

    ids: tuple[str, ...]


class Submit(NamedTuple):
    """Give a job to the pool."""

    job: Job


class Begin(NamedTuple):
    """Let a job that is ahead begin."""

    job: int


class Withdraw(NamedTuple):
    """Tell a job that waits for its turn to give up; its report is ignored."""

    job: int


class Kill(NamedTuple):
    """Kill the process that runs this job; asked for again until the job is gone."""

    job: int


class Took(NamedTuple):
    """These entries are in hand from now on."""

    entries: list[Entry]


class Tell(NamedTuple):
    """Publish a job's outcomes, one for each entry, and the rest of its report: in events, metrics and the log."""

    entries: list[Entry]
    outcomes: list[Outcome]
    job: Job
    report: Report


class Left(NamedTuple):
    """These entries are no longer in hand: acknowledged, or released."""

    entries: list[Entry]


class Stopped(NamedTuple):
    """No job of ours runs any more."""


Action = (
    Read | ListPending | FetchPending | Claim | AskLease | GiveLease | Acknowledge | Release | Submit | Begin | Withdraw
    | Kill | Took | Tell | Left | Stopped
)  # fmt: skip
