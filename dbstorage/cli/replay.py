import sys
from datetime import UTC, datetime

import click

from dbstorage.audit.stream import FROM_BEGINNING, TO_END, first_position, last_position
from dbstorage.cli.confirm import confirm
from dbstorage.cli.output import print_json, print_table, say
from dbstorage.cli.progress import progress_bar
from dbstorage.cli.settings import settings_for_command
from dbstorage.operating.person import this_person
from dbstorage.replay import ReplayReport
from dbstorage.replay import replay as run_replay
from dbstorage.storage.outcome import WRITTEN

INCOMPLETE = 1
#: The most orders that are named because their owner cannot be told.
NAMED = 20
LEFT_ALONE = {
    "question": "questions, which nobody waits for",
    "discarded": "discarded by an operator",
    "mended": "mended by an operator",
    "open": "failed tasks that are still to be seen to",
}


@click.command()
@click.option("--from", "first", metavar="ID|TIME", help="First entry. [default: where the database is]")
@click.option("--until", "last", metavar="ID|TIME", help="Last entry. [default: the last one that was read]")
@click.option(
    "--dry-run", is_flag=True, help="Only say what would be done: it is done and rolled back. Workers wait meanwhile."
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def replay(first: str | None, last: str | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Run a range of the command stream again, in order, for a database that was restored or has lost something.

    Workers may be running: they store nothing meanwhile. What is stored already stays as it is. An order goes to the
    person that it belongs to, whatever userID that person has now. What operators discarded or mended is left alone,
    and questions are not answered. If the range reaches from where the database is to the last entry that was read, the
    workers go on by themselves afterwards. docs/restore.md describes the whole way.

    An ID is an entry id such as 1746403514283-0, or its milliseconds alone. A TIME is written as 2026-05-05T03:00, in
    UTC unless it has an offset. `-` is the beginning of the stream.

    \b
    Exit codes:
      0  done, and nothing is missing
      1  done, but some entries are gone from the stream, or nobody can tell whose an order is
      2  wrong usage or settings
      3  Redis or the database cannot be used
      4  the question was not answered with yes
    """
    begin = None if first is None else _position("--from", first, last=False)
    end = None if last is None else _position("--until", last, last=True)
    settings = settings_for_command()
    if not (dry_run or yes):
        confirm("Run these entries again? Workers wait meanwhile.", otherwise="--dry-run says what would be done")
    with progress_bar("Replaying") as advance:
        report = run_replay(
            settings,
            begin,
            end,
            dry_run=dry_run,
            who=this_person(),
            progress=lambda done: advance(done, None),
        )
    if as_json:
        print_json(_as_json(report))
    else:
        _print(report)
    sys.exit(INCOMPLETE if report.unclear or report.trimmed_before else 0)


def _position(option: str, text: str, *, last: bool) -> int | None:
    if text in (FROM_BEGINNING, TO_END):
        return None if text == TO_END else 0
    milliseconds = _milliseconds(text)
    try:
        return (last_position if last else first_position)(text if milliseconds is None else str(milliseconds))
    except ValueError:
        raise click.UsageError(
            f"{option} is {text[:60]!r}; expected an entry id such as 1746403514283-0, its milliseconds alone, or "
            "a time such as 2026-05-05T03:00."
        ) from None


def _milliseconds(text: str) -> int | None:
    """A time as the milliseconds of an entry id; None where the text is no time."""
    if text.replace("-", "").isdecimal() and text.count("-") < 2:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _as_json(report: ReplayReport) -> dict[str, object]:
    return {
        "dry_run": report.dry_run,
        "first": report.first,
        "last": report.last,
        "entries": report.entries,
        "counts": report.counts,
        "left_alone": report.left_alone,
        "unclear": report.unclear,
        "trimmed_before": report.trimmed_before,
        "accepted": report.accepted,
    }


def _in_words(report: ReplayReport) -> str:
    """What was run again, and how much of it the database lacked."""
    lacked = sum(counts[status.value] for counts in report.counts.values() for status in WRITTEN)
    again = report.entries - sum(report.left_alone.values())
    entries = f"{report.entries:,} {'entry' if report.entries == 1 else 'entries'}, {report.first} to {report.last}"
    if report.dry_run:
        done, wrote, lacks = "would be run again", "would write", "lacks"
    else:
        done, wrote, lacks = "run again", "wrote", "lacked"
    if not again:
        return f"{entries}: none {done}."
    found = f"{lacked:,} {wrote} what the database {lacks}" if lacked else f"the database {lacks} nothing of them"
    return f"{entries}: {again:,} {done}; {found}."


def _print(report: ReplayReport) -> None:
    if not report.entries:
        say("There is no entry in this range.", err=True)
    rows = [
        (function, outcome, f"{number:,}")
        for function, counts in sorted(report.counts.items())
        for outcome, number in sorted(counts.items())
    ]
    rows += [("left alone", LEFT_ALONE[reason], f"{number:,}") for reason, number in sorted(report.left_alone.items())]
    if rows:
        print_table(["function", "outcome", "entries"], rows, right=["entries"])
    if report.trimmed_before is not None:
        say(f"The stream begins with {report.trimmed_before}: what stood before is gone.", err=True)
    if report.unclear:
        named = ", ".join(report.unclear[:NAMED])
        say(f"Of {len(report.unclear):,} orders nobody can tell whose they are: {named}.", err=True)
    if report.entries:
        say(_in_words(report), err=True)
    if report.accepted:
        say("The database counts as the service's own now: work goes on.", err=True)
