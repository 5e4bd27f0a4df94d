"""What became of an entry, decided over plain data from what Redis and the database say of it."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from dbstorage.commands.orders import CloseOrder
from dbstorage.commands.questions import HistoryQuestion
from dbstorage.commands.registry import KINDS
from dbstorage.commands.users import CreateUser
from dbstorage.errors import RejectedEntry
from dbstorage.failed_tasks.filters import State
from dbstorage.storage.failures import USER_CONFLICT_CODE
from dbstorage.storage.users import identities
from dbstorage.storage.work import Work
from dbstorage.wire.entry_id import position_of


class AuditOutcome(StrEnum):
    """The outcomes of an entry, in the order in which they are shown."""

    #: The order, or the person, is in the database as the entry says.
    STORED = "stored"
    #: An order that is stored already, by an earlier entry of the audited range.
    DUPLICATE = "duplicate"
    #: A createUser whose person was changed by a newer one.
    SUPERSEDED = "superseded"
    #: A question, or an entry that is no command, with which the service is done.
    ACKNOWLEDGED = "acknowledged"
    FAILED = "failed"
    RETRYING = "retrying"
    #: An operator has mended what the entry says, and that was stored.
    EDITED = "edited"
    #: The service has not acknowledged it: it is not done with it, or has not read it yet.
    PENDING = "pending"
    #: The service is done with it, and nothing shows what became of it.
    MISSING = "missing"


class AuditFinding(NamedTuple):
    """An entry's outcome; `code` is why it failed, `reason` a sentence on why it counts as missing."""

    outcome: AuditOutcome
    code: str | None = None
    reason: str | None = None


class FailedRecord(NamedTuple):
    """The record of an entry in `dbstorage.failed_tasks`."""

    state: State
    code: str
    #: An operator has mended it.
    edited: bool = False

    @property
    def is_refused_conflict(self) -> bool:
        """Whether it is a createUser that met a conflict, so that it changed nothing."""
        refused = self.state in (State.FAILED, State.DISCARDED)
        return refused and self.code == USER_CONFLICT_CODE and not self.edited


class StoredOrder(StrEnum):
    """What the table holds under the orderId of an entry."""

    SAME = "same"
    OTHER = "other"
    NONE = "none"
    #: The database refuses to compare: the entry holds a value that the table cannot hold.
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What Redis and the database say of some entries; what was not asked for an entry is not in here."""

    #: Ids of entries in the group's pending list or not delivered yet, asked before the database was.
    unacknowledged: Set[str]
    #: By entry id.
    records: Mapping[str, FailedRecord] = field(default_factory=dict)
    #: By entry id.
    orders: Mapping[str, StoredOrder] = field(default_factory=dict)
    #: userID -> e-mail address.
    people: Mapping[str, str] = field(default_factory=dict)
    #: Identity -> position of the last createUser that was applied to it.
    applied: Mapping[str, int] = field(default_factory=dict)


STORED = AuditFinding(AuditOutcome.STORED)
SUPERSEDED = AuditFinding(AuditOutcome.SUPERSEDED)
ACKNOWLEDGED = AuditFinding(AuditOutcome.ACKNOWLEDGED)
PENDING = AuditFinding(AuditOutcome.PENDING)
EDITED = AuditFinding(AuditOutcome.EDITED)

_NO_ORDER = {
    StoredOrder.NONE: "no order with its orderId is stored",
    StoredOrder.OTHER: "the order stored with its orderId has other content",
    StoredOrder.IMPOSSIBLE: "it holds a value that the database refuses",
}
_NO_RECORD = "no failure is recorded"
_RESOLVED = "its failed task counts as resolved"


def find_outcome(work: Work, evidence: Evidence) -> AuditFinding:
    """The outcome of one entry; an order that is there is STORED, whichever entry stored it."""
    entry_id = entry_id_of(work)
    if entry_id in evidence.unacknowledged:
        return PENDING
    record = evidence.records.get(entry_id)
    if record is not None and record.state is not State.RESOLVED:
        retrying = record.state is State.RETRYING
        return AuditFinding(AuditOutcome.RETRYING if retrying else AuditOutcome.FAILED, record.code)
    if record is not None and record.edited:
        return EDITED
    nothing_else = _NO_RECORD if record is None else _RESOLVED
    match work.command:
        case CloseOrder():
            stored = evidence.orders[entry_id]
            return STORED if stored is StoredOrder.SAME else _missing(_NO_ORDER[stored], nothing_else)
        case CreateUser() as command:
            if evidence.people.get(command.user_id) == command.email:
                return STORED
            if any(evidence.applied.get(key, -1) > position_of(entry_id) for key in identities(command)):
                return SUPERSEDED
            return _missing("no such user is there, no newer entry explains it", nothing_else)
        case HistoryQuestion():
            return ACKNOWLEDGED
        case RejectedEntry() as rejection:
            kind = KINDS.get(work.identity.name)
            if kind is None or not kind.is_kept:
                return ACKNOWLEDGED
            return _missing(f"it breaks a rule ({rejection.code})", nothing_else)
        case _:
            # Nobody but its own record, which it does not have, could say that it came to nothing.
            return ACKNOWLEDGED


def needs_order(work: Work, unacknowledged: Set[str], records: Mapping[str, FailedRecord]) -> bool:
    """Whether the outcome of an entry depends on the order that is stored."""
    entry_id = entry_id_of(work)
    record = records.get(entry_id)
    failed = record is not None and record.state is not State.RESOLVED
    return isinstance(work.command, CloseOrder) and entry_id not in unacknowledged and not failed


def entry_id_of(work: Work) -> str:
    """The id of a work's entry; every work here has one."""
    assert work.entry is not None
    return work.entry.id


def _missing(*reasons: str) -> AuditFinding:
    sentence = ", and ".join(reasons)
    return AuditFinding(AuditOutcome.MISSING, reason=f"{sentence[0].upper()}{sentence[1:]}.")
