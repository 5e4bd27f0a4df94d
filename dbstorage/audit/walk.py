"""Walking the command stream, chunk by chunk, while the service may be running."""

from collections.abc import Callable, Sequence
from contextlib import closing

from dbstorage.audit.outcomes import Finding, Outcome, entry_id_of, find_outcome
from dbstorage.audit.report import AuditReport
from dbstorage.audit.rows import Rows
from dbstorage.audit.stream import FROM_BEGINNING, TO_END, CommandStream
from dbstorage.settings import Settings
from dbstorage.storage.work import Work, understand

#: Called after each chunk with the number of entries looked at by now, and that of the whole stream at the start.
Progress = Callable[[int, int], None]


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
        with closing(Rows(settings)) as rows:
            for entries in stream.chunks(wanted):
                works = [understand(entry, settings.history_limit) for entry in entries]
                for work, finding in zip(works, _look_twice(stream, rows, works), strict=True):
                    report.add(work, finding)
                progress(report.entries, wanted.length)
    return report


def _look_twice(stream: CommandStream, rows: Rows, works: Sequence[Work]) -> list[Finding]:
    """The findings; what seems missing is looked up once more, in case a server came back with an older state."""
    findings = _look(stream, rows, works)
    doubtful = [index for index, finding in enumerate(findings) if finding.outcome is Outcome.MISSING]
    if doubtful:
        again = _look(stream, rows, [works[index] for index in doubtful])
        for index, finding in zip(doubtful, again, strict=True):
            findings[index] = finding
    return findings


def _look(stream: CommandStream, rows: Rows, works: Sequence[Work]) -> list[Finding]:
    # Redis first: what is acknowledged there was committed before, so the database must show it. The other way round
    # an entry that is stored and acknowledged between the two looks would seem missing.
    unacknowledged = stream.unacknowledged([entry_id_of(work) for work in works])
    evidence = rows.evidence(works, unacknowledged)
    return [find_outcome(work, evidence) for work in works]
