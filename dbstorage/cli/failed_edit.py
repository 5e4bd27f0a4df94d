import sys
from dataclasses import replace
from typing import Any

import click

from dbstorage.cli.confirm import confirm
from dbstorage.cli.failed_filter import (
    EXIT_CODES,
    NOTHING_MATCHED,
    check_code,
    database,
    filter_options,
    json_option,
    number_of_tasks,
    read_filter,
)
from dbstorage.cli.failed_wait import as_json as followed_as_json
from dbstorage.cli.failed_wait import wait_for_retries, wait_options
from dbstorage.cli.output import print_json, say
from dbstorage.cli.settings import settings_for_command
from dbstorage.failed_tasks.changes import Change, count_for
from dbstorage.failed_tasks.edit import Edited, parse_changes
from dbstorage.failed_tasks.edit import edit as mend
from dbstorage.failed_tasks.retry_progress import Followed, in_words
from dbstorage.operating.person import this_person


def _tell(found: Edited) -> None:
    """Show the new values of the first tasks, and why others would still fail."""
    for each in found.samples:
        for name, (before, after) in each.values.items():
            say(f"{each.id}: {name} {'(none)' if before is None else before} -> {after}", err=True)
    if found.mended > len(found.samples):
        say(f"… and {found.mended - len(found.samples)} more.", err=True)
    for sentence, number in found.refused.most_common(10):
        say(f"{number_of_tasks(number)} would still fail: {sentence}", err=True)


@click.command(epilog=EXIT_CODES, short_help="Mend failed tasks and retry them.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@filter_options
@click.option(
    "--set",
    "words",
    multiple=True,
    required=True,
    metavar="FIELD=VALUE",
    help="A new value. May be given several times.",
)
@click.option("--all", "every", is_flag=True, help="All of them; needed where neither ids nor a filter are given.")
@click.option("--dry-run", is_flag=True, help="Change nothing; only say how many would be valid then.")
@click.option("--reason", help="Why; `dbstorage operations` shows it.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@wait_options
@json_option
def edit(
    ids: tuple[str, ...],
    words: tuple[str, ...],
    every: bool,
    dry_run: bool,
    reason: str | None,
    yes: bool,
    wait: bool,
    timeout: float,
    as_json: bool,
    **filters: Any,
) -> None:
    """Change fields of failed commands, such as --set symbol=btc, and retry those that are valid then.

    Tasks that would still break a rule stay as they are. The orderId and the userId cannot be changed. The payload as
    it came is kept beside the new one, and the audit says `edited`. Takes tasks in state failed.
    """
    which = read_filter(ids, **filters)
    if not (every or which.selects):
        raise click.UsageError("Say which tasks: with ids, with a filter such as --code, or with --all.")
    try:
        changes = parse_changes(words)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    settings = settings_for_command(redis_needed=False)
    with database() as (connection, scope):
        matched = count_for(connection, scope, which, Change.RETRY)
        check_code(connection, scope, which, matched.number)
        which = replace(which, up_to=matched.up_to)
        who, followed = this_person(), Followed()
        found = mend(connection, settings, which, changes, who=who, dry_run=True)
        if not as_json:
            _tell(found)
        if found.mended and not dry_run:
            if not yes:
                confirm(f"Mend and retry {number_of_tasks(found.mended)}?")
            found = mend(connection, settings, which, changes, who=who, reason=reason, progress=followed.add)
            if wait and found.mended:
                wait_for_retries(connection, scope, followed, timeout)
    if as_json:
        samples = [
            {"id": each.id, "values": {name: list(pair) for name, pair in each.values.items()}}
            for each in found.samples
        ]
        told = followed_as_json(followed) if wait and not dry_run else {}
        print_json({"mended": found.mended, "refused": found.refused, "dry_run": dry_run, "samples": samples, **told})
    else:
        verb = "would be" if dry_run else "is" if found.mended == 1 else "are"
        say(f"{number_of_tasks(found.mended)} {verb} mended and retried.")
        if wait and followed.number:
            say(in_words(followed.states, followed.number))
    if not found.mended:
        sys.exit(NOTHING_MATCHED)
