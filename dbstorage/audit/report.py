"""What an audit found, counted entry by entry."""

from dataclasses import dataclass, field
from typing import NamedTuple

from dbstorage.audit.outcomes import Finding, Outcome, entry_id_of
from dbstorage.commands.orders import CloseOrder
from dbstorage.storage.work import Work

#: Missing entries that are named; beyond them they are only counted.
MOST_NAMED = 10_000


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
    #: Entries that were trimmed from the stream, anywhere in it, before the service read them.
    trimmed_unread: int = 0
    #: Hashes of the orderIds that were found stored: the only thing that grows with the range, by some 80 bytes each.
    _stored: set[int] = field(default_factory=set, repr=False, compare=False)

    @property
    def missing_count(self) -> int:
        """How many entries are missing."""
        return self.count(Outcome.MISSING)

    def count(self, outcome: Outcome) -> int:
        """How many entries, of any function, have this outcome."""
        return sum(by_outcome.get(outcome, 0) for by_outcome in self.counts.values())

    def add(self, work: Work, finding: Finding) -> None:
        """Count the next entry of the stream."""
        entry_id, identity = entry_id_of(work), work.identity
        outcome = finding.outcome
        if outcome is Outcome.STORED and isinstance(work.command, CloseOrder):
            before = len(self._stored)
            self._stored.add(hash(work.command.order_id))
            if len(self._stored) == before:
                outcome = Outcome.DUPLICATE
        self.first = self.first or entry_id
        self.last = entry_id
        self.entries += 1
        by_outcome = self.counts.setdefault(identity.name, {})
        by_outcome[outcome] = by_outcome.get(outcome, 0) + 1
        if finding.code is not None:
            self.codes[finding.code] = self.codes.get(finding.code, 0) + 1
        if outcome is Outcome.MISSING and len(self.missing) < MOST_NAMED:
            self.missing.append(MissingEntry(entry_id, identity.task_id, identity.name, finding.reason or ""))
