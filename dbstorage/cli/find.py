import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from dbstorage.cli.exit_codes import UNAVAILABLE
from dbstorage.cli.output import print_json, print_table, say
from dbstorage.cli.progress import progress_bar
from dbstorage.cli.settings import settings_for_command
from dbstorage.failed_tasks.advice import advice
from dbstorage.failed_tasks.filters import OPEN_STATES
from dbstorage.find import Found
from dbstorage.find import find as look_for

NOWHERE = 1


@click.command()
@click.argument("what", metavar="ORDER|USER|ENTRY|REQUEST")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def find(what: str, as_json: bool) -> None:
    """Say where an order, a user, an entry or a request is.

    It looks through the command stream and the database. What it looks for may be unread, in hand (and whose), stored
    with its row, a duplicate, failed with its attempts, discarded, trimmed, or never seen. It takes an orderId, a
    userId, an e-mail address, an entry id such as 1746403514283-0, a requestId or a task id, and changes nothing.

    \b
    Exit codes:
      0  found
      1  it is nowhere
      2  wrong usage or settings
      3  Redis or PostgreSQL cannot be used, so nothing is known
    """
    settings = settings_for_command()
    if not what.strip():
        raise click.UsageError("Say what to look for: an id, or an e-mail address.")
    with progress_bar("Looking") as advance:
        found = look_for(settings, what, advance)
    if as_json:
        print_json(as_plain(found), indent=2)
    else:
        _print(found)
    for problem in found.problems:
        say(problem, err=True)
    if found.problems:
        sys.exit(UNAVAILABLE)
    sys.exit(0 if found.entries or found.order or found.user or found.failed else NOWHERE)


def as_plain(found: Found) -> dict[str, Any]:
    """The result as JSON takes it."""
    plain = asdict(found)
    if found.failed is not None:
        plain["failed"] = [
            {**_with_texts(each.task._asdict()), "kept": [_with_texts(attempt._asdict()) for attempt in each.attempts]}
            for each in found.failed
        ]
    return plain


def _with_texts(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
    }


def _lines(row: dict[str, Any]) -> list[str]:
    return [f"  {name + ':':14}{'-' if value is None else value}" for name, value in row.items()]


def _print(found: Found) -> None:
    say(f"{found.what}: {', '.join(found.states) or 'unknown'}")
    for title, row in (("order", found.order), ("user", found.user)):
        if row is not None:
            say("", f"The row of the {title}:", *_lines(row))
    for each in found.failed or ():
        task = each.task
        say("", f"Failed task {task.id}, {task.state}: {task.message}")
        if task.state in OPEN_STATES:
            say(f"  {advice(task.code)}")
        for attempt in each.attempts:
            outcome = f"{attempt.outcome}{f' ({attempt.code})' if attempt.code else ''}"
            say(f"  attempt {attempt.number} at {attempt.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z: {outcome}")
    if found.more_failed:
        say("", "These are the last failed tasks; `dbstorage failed list` has all of them.")
    if found.entries:
        say("", "In the stream:")
        rows = [(each.entry_id, each.function, each.state, each.detail) for each in found.entries]
        print_table(["entry", "command", "is", ""], rows, whole=["entry"])
        if found.more_entries:
            say(f"These are the last {len(found.entries)}; there are older ones.", err=True)
    elif found.entries is not None and found.oldest_entry:
        say(f"The stream does not hold it; its oldest entry is {found.oldest_entry}.")
