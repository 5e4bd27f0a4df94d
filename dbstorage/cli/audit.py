import sys
from collections.abc import Iterator

import click

from dbstorage.audit import AuditReport
from dbstorage.audit import audit as run_audit
from dbstorage.audit.outcomes import AuditOutcome
from dbstorage.audit.owners import Owner
from dbstorage.audit.report import MOST_NAMED
from dbstorage.audit.stream import FROM_BEGINNING, TO_END, first_position, last_position
from dbstorage.cli.output import print_json, print_table, say
from dbstorage.cli.progress import progress_bar
from dbstorage.cli.settings import settings_for_command
from dbstorage.printable import printable
from dbstorage.redis_access.trimmed import SENTENCE

MISSING = 1


@click.command()
@click.option("--from", "first", metavar="ID", default=FROM_BEGINNING, help="First entry. [default: the oldest]")
@click.option("--to", "last", metavar="ID", default=TO_END, help="Last entry. [default: the newest at the start]")
@click.option(
    "--show",
    type=click.IntRange(0, MOST_NAMED),
    default=20,
    show_default=True,
    help="How many missing entries are named at most.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def audit(first: str, last: str, show: int, as_json: bool) -> None:
    """Prove that nothing was lost: look up in the database what became of every entry of the command stream.

    For each createCloseOrder and createUser it says whether it is stored, failed or still waiting; for everything else,
    whether it was acknowledged; and for each stored order, whether it stands under the right person. Entries that were
    trimmed away cannot be looked up. Nothing is changed, and the service may be running.

    An ID is an entry id such as 1746403514283-0, or its milliseconds alone.

    \b
    Exit codes:
      0  nothing is missing
      1  something is missing, was trimmed unread, or stands under another person
      2  wrong usage or settings
      3  Redis or the database cannot be used, so nothing is proven
    """
    _check(first, last)
    settings = settings_for_command()
    whole = (first, last) == (FROM_BEGINNING, TO_END)
    with progress_bar("Auditing") as advance:
        # The number of entries is only known for the whole stream, not for a part of it.
        report = run_audit(settings, first, last, lambda done, length: advance(done, length if whole else None))
    if as_json:
        print_json(_as_json(report, show), indent=2)
    else:
        _print(report, show, settings.command_stream)
    sys.exit(MISSING if report.missing_count or report.misplaced_count or report.trimmed_unread else 0)


def _check(first: str, last: str) -> None:
    for option, text, position in (("--from", first, first_position), ("--to", last, last_position)):
        try:
            position(text)
        except ValueError:
            raise click.UsageError(
                f"{option} is {printable(text[:60])!r}; expected an entry id such as 1746403514283-0, "
                "or its milliseconds alone."
            ) from None
    end = last_position(last)
    if end is not None and end < first_position(first):
        raise click.UsageError(f"--from {first} stands behind --to {last} in the stream; expected the older one first.")


def _as_json(report: AuditReport, show: int) -> dict[str, object]:
    return {
        "first": report.first,
        "last": report.last,
        "entries": report.entries,
        "counts": report.counts,
        "codes": report.codes,
        "trimmed_unread": report.trimmed_unread,
        "owners": report.owners,
        "misplaced": [misplaced._asdict() for misplaced in report.misplaced[:show]],
        "missing_count": report.missing_count,
        "missing": [missing._asdict() for missing in report.missing[:show]],
    }


def _print(report: AuditReport, show: int, stream: str) -> None:
    if report.trimmed_unread and not report.entries:
        say(f"{report.trimmed_unread:,} {SENTENCE}", err=True)
    if not report.entries:
        say(f"There is no entry in this range of {printable(stream)}.", err=True)
        return
    outcomes = [outcome for outcome in AuditOutcome if report.count(outcome)]
    rows = [
        [function, *(counts.get(outcome, 0) for outcome in outcomes), sum(counts.values())]
        for function, counts in sorted(report.counts.items())
    ]
    print_table(["function", *outcomes, "entries"], rows, right=[*outcomes, "entries"])
    if report.missing[:show]:
        named = [(one.entry_id, printable(one.task_id), one.reason) for one in report.missing[:show]]
        say("")
        print_table(["missing entry", "task", "reason"], named, cut="reason")
    if report.misplaced[:show]:
        named = [(one.entry_id, printable(one.task_id), one.reason) for one in report.misplaced[:show]]
        say("")
        print_table(["misplaced entry", "task", "reason"], named, cut="reason")
    for sentence in _sentences(report, show):
        say(sentence, err=True)


def _sentences(report: AuditReport, show: int) -> Iterator[str]:
    if report.codes:
        codes = ", ".join(f"{count:,} {printable(code)}" for code, count in sorted(report.codes.items()))
        yield f"Failed, retrying or discarded: {codes} (see dbstorage failed list --all)."
    if pending := report.count(AuditOutcome.PENDING):
        yield f"The service is not done with {pending:,} of them: audit again when it is."
    if report.trimmed_unread:
        yield f"{report.trimmed_unread:,} {SENTENCE}"
    shown = min(show, len(report.missing))
    if report.missing_count > shown:
        yield f"{shown:,} of {report.missing_count:,} missing entries are named; --show names more."
    if misplaced := report.misplaced_count:
        verb = "order stands" if misplaced == 1 else "orders stand"
        yield f"{misplaced:,} stored {verb} under another person."
    if unknown := report.owners.get(Owner.UNKNOWN, 0):
        yield f"The stream does not prove whose {unknown:,} of the stored orders are."
    missing = f"{report.missing_count:,}" if report.missing_count else "nothing"
    yield f"Looked at {report.entries:,} entries, {report.first} to {report.last}: {missing} missing."
