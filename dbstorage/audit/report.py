"""What an audit found, counted entry by entry."""

from dataclasses import dataclass, field
from typing import NamedTuple

from dbstorage.audit.outcomes import AuditFinding, AuditOutcome, entry_id_of
from dbstorage.audit.owners import Owner
from dbstorage.commands.orders import CloseOrder
from dbstorage.storage.work import Work

#: Missing entries that are named; beyond them they are only counted.
MOST_NAMED = 10_000


UNDER_ANOTHER = "The order is stored, but under another person than the one who had its userID."


class MissingEntry(NamedTuple):
    """An entry whose effect is not in the database, with a sentence on what was looked for."""

    entry_id: str
    task_id: str
    function: str
    reason: str


@dataclass(kw_only=True)
class AuditReport:
    """The outcome of an audit."""

    #: Ids of the first and the last entry that was looked at; None where there was none.
    first: str | None = None
    last: str | None = None
    entries: int = 0
    #: function (`invalidEntry` for an entry that is no command) -> outcome -> number of entries
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    #: Of failed and retrying entries: code -> number of entries
    codes: dict[str, int] = field(default_factory=dict)
    #: In stream order, MOST_NAMED at most.
    missing: list[MissingEntry] = field(default_factory=list)
    #: Of the orders that are stored, each counted once: right, other or unknown -> number of orders
    owners: dict[str, int] = field(default_factory=dict)
    #: Orders that stand under another person, in stream order, MOST_NAMED at most.
    misplaced: list[MissingEntry] = field(default_factory=list)
    #: Entries that were trimmed from the stream, anywhere in it, before the service read them.
    trimmed_unread: int = 0
    #: Hashes of the orderIds that were found stored: the only thing that grows with the range, by some 80 bytes each.
    _stored: set[int] = field(default_factory=set, repr=False, compare=False)

    @property
    def missing_count(self) -> int:
        """How many entries are missing."""
        return self.count(AuditOutcome.MISSING)

    @property
    def misplaced_count(self) -> int:
        """How many orders stand under another person."""
        return self.owners.get(Owner.OTHER, 0)

    def count(self, outcome: AuditOutcome) -> int:
        """How many entries, of any function, have this outcome."""
        return sum(by_outcome.get(outcome, 0) for by_outcome in self.counts.values())

    def place(self, work: Work, owner: Owner) -> None:
        """Count under whom the order of an entry stands."""
        self.owners[owner] = self.owners.get(owner, 0) + 1
        if owner is Owner.OTHER and len(self.misplaced) < MOST_NAMED:
            identity = work.identity
            self.misplaced.append(MissingEntry(entry_id_of(work), identity.task_id, identity.name, UNDER_ANOTHER))

    def add(self, work: Work, finding: AuditFinding) -> AuditOutcome:
        """Count the next entry of the stream; returns its outcome, DUPLICATE where an earlier one had the order."""
        entry_id, identity = entry_id_of(work), work.identity
        outcome = finding.outcome
        if outcome is AuditOutcome.STORED and isinstance(work.command, CloseOrder):
            before = len(self._stored)
            self._stored.add(hash(work.command.order_id))
            if len(self._stored) == before:
                outcome = AuditOutcome.DUPLICATE
        self.first = self.first or entry_id
        self.last = entry_id
        self.entries += 1
        by_outcome = self.counts.setdefault(identity.name, {})
        by_outcome[outcome] = by_outcome.get(outcome, 0) + 1
        if finding.code is not None:
            self.codes[finding.code] = self.codes.get(finding.code, 0) + 1
        if outcome is AuditOutcome.MISSING and len(self.missing) < MOST_NAMED:
            self.missing.append(MissingEntry(entry_id, identity.task_id, identity.name, finding.reason or ""))
        return outcome
