"""Decides what became of an entry, from plain data that was read from Redis and the database."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from sqlalchemy import Connection

from dbstorage.codes import USER_CONFLICT
from dbstorage.commands.registry import KINDS
from dbstorage.database.shape import TableShape
from dbstorage.errors import RejectedEntry
from dbstorage.failed_tasks.filters import State
from dbstorage.storage.service import Service
from dbstorage.storage.work import Work
from dbstorage.wire.entry import StreamEntry


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
    #: The entry as an operator has mended it.
    mended: StreamEntry | None = None

    @property
    def is_open(self) -> bool:
        """Whether the record itself says what became of the entry."""
        return self.state is not State.RESOLVED

    @property
    def is_refused_conflict(self) -> bool:
        """Whether it is a createUser that met a conflict, so that it changed nothing."""
        refused = self.state in (State.FAILED, State.DISCARDED)
        return refused and self.code == USER_CONFLICT and self.mended is None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What Redis and the database say about some entries. An entry has only what had to be looked up for it."""

    #: Ids of entries in the group's pending list or not delivered yet, asked before the database was.
    unacknowledged: Set[str]
    #: By entry id.
    records: Mapping[str, FailedRecord] = field(default_factory=dict)
    #: What the look of their kind found of those that are done, by entry id.
    looks: Mapping[str, AuditFinding] = field(default_factory=dict)


#: What looks in the database whether commands of one kind took effect: a finding for each, in their order.
Look: TypeAlias = Callable[[Connection, TableShape, Service, Sequence[Work]], list[AuditFinding]]

STORED = AuditFinding(AuditOutcome.STORED)
SUPERSEDED = AuditFinding(AuditOutcome.SUPERSEDED)
ACKNOWLEDGED = AuditFinding(AuditOutcome.ACKNOWLEDGED)
PENDING = AuditFinding(AuditOutcome.PENDING)
EDITED = AuditFinding(AuditOutcome.EDITED)

_NO_RECORD = "no failure is recorded"
_RESOLVED = "its failed task counts as resolved"


def find_outcome(work: Work, evidence: Evidence) -> AuditFinding:
    """The outcome of one entry."""
    entry_id = entry_id_of(work)
    if entry_id in evidence.unacknowledged:
        return PENDING
    record = evidence.records.get(entry_id)
    if record is not None and record.is_open:
        retrying = record.state is State.RETRYING
        return AuditFinding(AuditOutcome.RETRYING if retrying else AuditOutcome.FAILED, record.code)
    found = evidence.looks.get(entry_id)
    if found is None:
        found = EDITED if record is not None and record.mended is not None else _without_look(work)
    elif found is STORED and record is not None and record.mended is not None:
        return EDITED
    if found.outcome is not AuditOutcome.MISSING:
        return found
    return missing(f"{found.reason}, and {_NO_RECORD if record is None else _RESOLVED}.")


def _without_look(work: Work) -> AuditFinding:
    if isinstance(work.command, RejectedEntry):
        kind = KINDS.get(work.identity.name)
        if kind is not None and kind.is_kept:
            return missing(f"it breaks a rule ({work.command.code})")
    # Only a record of its own could say that it had no effect, and it has none.
    return ACKNOWLEDGED


def missing(reason: str) -> AuditFinding:
    """A finding that an entry's effect is missing; `reason` is a clause such as "no such user is there"."""
    return AuditFinding(AuditOutcome.MISSING, reason=f"{reason[0].upper()}{reason[1:]}")


def entry_id_of(work: Work) -> str:
    """The id of a work's entry; every work here has one."""
    assert work.entry is not None
    return work.entry.id
