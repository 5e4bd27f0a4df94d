"""Walking the command stream, chunk by chunk, while the service may be running."""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TypeAlias

from dbstorage.audit.outcomes import AuditFinding, AuditOutcome, FailedRecord, entry_id_of, find_outcome
from dbstorage.audit.owners import Owner, Owners
from dbstorage.audit.report import AuditReport
from dbstorage.audit.rows import AuditedRows, as_mended
from dbstorage.audit.stream import FROM_BEGINNING, TO_END, CommandStream
from dbstorage.commands.orders import CloseOrder
from dbstorage.commands.users import CreateUser
from dbstorage.settings import Ordering, Settings
from dbstorage.storage.work import Work, understand
from dbstorage.wire.entry_id import position_of

#: Called after each chunk with the number of entries audited so far, and the length of the stream at the start.
Progress = Callable[[int, int], None]
#: What was found of an entry, and its record where it has one.
Found: TypeAlias = tuple[AuditFinding, FailedRecord | None]


def audit(
    settings: Settings,
    first: str = FROM_BEGINNING,
    last: str = TO_END,
    progress: Progress = lambda done, length: None,
) -> AuditReport:
    """Say what became of every entry from `first` to `last` that stands in the stream by now.

    Both are entry ids, milliseconds alone, or `-` and `+` for the stream's beginning and end. Nothing is changed.
    Raises ValueError for anything else, RedisUnavailableError, DatabaseUnavailableError and DatabaseNotReadyError.
    """
    report = AuditReport()
    with closing(CommandStream(settings)) as stream:
        wanted = stream.range(first, last)
        report.trimmed_unread = stream.trimmed_unread()
        with closing(AuditedRows(settings)) as rows:
            owners = _meet_people(settings, stream, rows)
            suspects: list[Work] = []
            for entries in stream.chunks(wanted):
                works = [understand(entry, settings.history_limit) for entry in entries]
                stored: list[Work] = []
                for work, (finding, record) in zip(works, _look_twice(stream, rows, works), strict=True):
                    if report.add(work, finding) in (AuditOutcome.STORED, AuditOutcome.EDITED):
                        done = as_mended(work, record)
                        if isinstance(done.command, CloseOrder):
                            stored.append(done)
                for work, owner in zip(stored, rows.owners(stored, owners) if stored else (), strict=True):
                    if owner is Owner.OTHER:
                        suspects.append(work)
                    else:
                        report.place(work, owner)
                progress(report.entries, wanted.length)
            for work, owner in zip(suspects, _confirm(settings, stream, owners, suspects), strict=True):
                report.place(work, owner)
    return report


def _meet_people(settings: Settings, stream: CommandStream, rows: AuditedRows) -> Owners:
    """Read all createUsers of the stream, since the owner of an order may have been created outside of the range."""
    owners = Owners()
    for entries in stream.chunks(stream.range(FROM_BEGINNING, TO_END)):
        works = [understand(entry, settings.history_limit) for entry in entries]
        creating = [work for work in works if isinstance(work.command, CreateUser)]
        if creating:
            entry_ids = [entry_id_of(work) for work in creating]
            unacknowledged = stream.unacknowledged(entry_ids)
            records = rows.records(entry_ids)
            for work in creating:
                if isinstance(work.command, CreateUser):
                    entry_id = entry_id_of(work)
                    record = records.get(entry_id)
                    is_conflict = record is not None and record.is_refused_conflict
                    is_clear = entry_id not in unacknowledged and (record is None or is_conflict)
                    position = position_of(entry_id)
                    owners.feed(work.command, position, is_conflict=is_conflict, is_clear=is_clear)
        owners.end = position_of(entries[-1].id)
    return owners


def _confirm(settings: Settings, stream: CommandStream, owners: Owners, suspects: Sequence[Work]) -> list[Owner]:
    """Drop the suspicion against orders that another entry, which names another person, may have stored."""
    if settings.ordering is not Ordering.STRICT or stream.trimmed_before() is not None:
        # Such an entry may be gone; and in parallel order a createUser may have been applied behind later orders.
        return [Owner.UNKNOWN] * len(suspects)
    named: dict[str, set[int | None]] = {
        work.command.order_id: set() for work in suspects if isinstance(work.command, CloseOrder)
    }
    for entries in stream.chunks(stream.range(FROM_BEGINNING, TO_END)) if suspects else ():
        for entry in entries:
            # An entry that breaks a rule may have been mended; which order it is, and whose, stays as it came.
            identity = understand(entry, settings.history_limit).identity
            if identity.order_id in named:
                person = owners.people.person_of(identity.user_id or "", position_of(entry.id))
                named[identity.order_id].add(person)
    return [
        Owner.OTHER if len(named[work.command.order_id]) == 1 else Owner.UNKNOWN
        for work in suspects
        if isinstance(work.command, CloseOrder)
    ]


def _look_twice(stream: CommandStream, rows: AuditedRows, works: Sequence[Work]) -> list[Found]:
    """The findings. Entries that seem missing are looked up once more: a server may have shown an older state."""
    findings = _look(stream, rows, works)
    doubtful = [index for index, (finding, _) in enumerate(findings) if finding.outcome is AuditOutcome.MISSING]
    if doubtful:
        again = _look(stream, rows, [works[index] for index in doubtful])
        for index, finding in zip(doubtful, again, strict=True):
            findings[index] = finding
    return findings


def _look(stream: CommandStream, rows: AuditedRows, works: Sequence[Work]) -> list[Found]:
    # Redis first: what is acknowledged there was committed before, so the database must show it. The other way round
    # an entry that is stored and acknowledged between the two looks would seem missing.
    unacknowledged = stream.unacknowledged([entry_id_of(work) for work in works])
    evidence = rows.evidence(works, unacknowledged)
    return [(find_outcome(work, evidence), evidence.records.get(entry_id_of(work))) for work in works]
