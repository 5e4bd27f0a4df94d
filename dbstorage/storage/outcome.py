"""What became of an entry, and what a pool job reports to the worker's main process: plain data that pickles small."""

from enum import StrEnum
from typing import NamedTuple


class Status(StrEnum):
    """The outcomes of an entry; `FAILED` and `RETRYING` have a row in `dbstorage.failed_tasks`."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    SUPERSEDED = "superseded"
    ANSWERED = "answered"
    EXPIRED = "expired"
    FAILED = "failed"
    RETRYING = "retrying"


#: Outcomes of commands that changed a row.
WRITTEN = (Status.STORED, Status.CREATED, Status.UPDATED)


class Outcome(NamedTuple):
    """One entry's outcome; `code` and `message` say why it failed, or which error an answer carried."""

    status: Status
    code: str | None = None
    message: str | None = None


class Retried(NamedTuple):
    """A failed task that was run again, as it is published in Flower, the log and the metrics."""

    name: str
    task_id: str
    summary: str
    entry_id: str | None
    #: Made by now, this one included.
    attempts: int
    outcome: Outcome
    #: The sender's trace context.
    trace: dict[str, str] = {}  # noqa: RUF012  # never changed


class Outage(StrEnum):
    """What keeps entries from being stored, through no fault of theirs."""

    DATABASE = "database"
    REDIS = "redis"
    #: Redis answers but refuses commands that finish work: its disk is full, replicas or a right of ours are missing.
    REFUSED = "refused"
    #: The database answers, and something in it is wrong: a grant, a sequence, a column.
    FAULT = "fault"
    #: A replay of the stream runs, beside which nobody else writes.
    REPLAY = "replay"


class Report(NamedTuple):
    """The result of one pool job.

    `outcomes` has one element for each entry of the job, None where nothing is decided yet; `acknowledged` tells
    which of them the command stream knows about. `functions` names the task of each; it is empty where that is unknown.
    Where `outage` is set the rest is to be tried again later. `refusal` is what Redis says of answers that it does not
    take: their questions are left over. `crash` is the traceback of a bug of ours. `lost`: the database went away in
    the midst of a transaction, and what is left may be what it went away for.
    """

    outcomes: list[Outcome | None]
    acknowledged: list[bool]
    outage: Outage | None = None
    reason: str = ""
    crash: str = ""
    seconds: dict[str, float] = {}  # noqa: RUF012  # never changed: stage -> seconds
    answer_seconds: list[float] = []  # noqa: RUF012  # from entry to answer
    #: Failed tasks that this job ran again: those that were due, or orders whose user came.
    retried: list[Retried] = []  # noqa: RUF012
    #: Whether further failed tasks are due at once.
    more: bool = False
    functions: list[str] = []  # noqa: RUF012
    refusal: str = ""
    lost: bool = False


STORED = Outcome(Status.STORED)
DUPLICATE = Outcome(Status.DUPLICATE)
EXPIRED = Outcome(Status.EXPIRED)
ANSWERED = Outcome(Status.ANSWERED)
