import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click
from sqlalchemy import Connection

from dbstorage.cli.confirm import confirm
from dbstorage.cli.exit_codes import INTERRUPTED
from dbstorage.cli.failed_filter import (
    EXIT_CODES,
    NOTHING_MATCHED,
    Command,
    check_code,
    database,
    filter_options,
    json_option,
    number_of_tasks,
    read_filter,
)
from dbstorage.cli.failed_wait import HOW_TO_FOLLOW, wait_for_retries, wait_options
from dbstorage.cli.failed_wait import as_json as followed_as_json
from dbstorage.cli.output import print_json, say
from dbstorage.cli.progress import progress_bar
from dbstorage.failed_tasks.changes import Change, apply, count_codes, count_for, delete_old
from dbstorage.failed_tasks.filters import Filter, State
from dbstorage.failed_tasks.lookup import count
from dbstorage.failed_tasks.retry_progress import Followed, in_words
from dbstorage.operating.person import this_person
from dbstorage.printable import printable
from dbstorage.settings import Scope

#: Up to so many tasks are discarded after a simple yes; for more, their number has to be typed.
MOST_BY_YES = 100


def change_options(command: Command) -> Command:
    """Add the options that `retry`, `cancel`, `discard` and `restore` have in common."""
    for option in reversed(
        [
            click.argument("ids", nargs=-1, metavar="[ID]..."),
            filter_options,
            click.option(
                "--all", "every", is_flag=True, help="All of them; needed where neither ids nor a filter are given."
            ),
            click.option("--dry-run", is_flag=True, help="Change nothing; only say how many there are."),
            click.option("--reason", help="Why; `dbstorage operations` shows it."),
            click.option("--yes", "-y", is_flag=True, help="Do not ask."),
            json_option,
        ]
    ):
        command = option(command)
    return command


@click.command(epilog=EXIT_CODES, short_help="Run failed tasks again.")
@change_options
@wait_options
def retry(**options: Any) -> None:
    """Run failed tasks again: those with these ids, or all that match the filter.

    Takes tasks in state failed. Each runs once, however many people retry it at the same time. Workers run them, even
    if this command ends first. It waits for them as long as they make progress, and says what became of the tasks.
    """
    _change(Change.RETRY, **options)


@click.command(epilog=EXIT_CODES, short_help="Stop retries that have not run yet.")
@change_options
def cancel(**options: Any) -> None:
    """Stop retries that have not run yet: tasks with these ids, or all that match the filter, return to state failed.

    Takes tasks in state retrying, including those that the service tries again by itself.
    """
    _change(Change.CANCEL, **options)


@click.command(epilog=EXIT_CODES, short_help="Give failed tasks up; their records stay.")
@change_options
def discard(**options: Any) -> None:
    """Give failed tasks up: those with these ids, or all that match the filter.

    Takes tasks in state failed or retrying. Their records stay, in state discarded.
    """
    _change(Change.DISCARD, **options)


@click.command(epilog=EXIT_CODES, short_help="Undo a discard.")
@change_options
def restore(**options: Any) -> None:
    """Undo a discard: tasks with these ids, or all that match the filter, return to state failed and can be retried."""
    _change(Change.RESTORE, **options)


@click.command(epilog=EXIT_CODES, short_help="Delete old records that nobody needs any more.")
@click.option(
    "--state",
    "states",
    default="resolved,discarded",
    show_default=True,
    shell_complete=lambda context, parameter, incomplete: [
        states for states in ("resolved", "discarded", "resolved,discarded") if states.startswith(incomplete)
    ],
    help="Delete records in state resolved, discarded, or both; failed and retrying ones are never deleted.",
)
@click.option(
    "--older-than", required=True, metavar="AGE", help="Only those that last failed longer ago than this, such as 90d."
)
@click.option("--dry-run", is_flag=True, help="Change nothing; only say how many there are.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
def purge(states: str, older_than: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete old records of resolved and discarded tasks.

    Keep the records of entries that the stream still holds: without its record, the audit calls a discarded entry
    `missing`.
    """
    wanted = tuple(word.strip() for word in states.split(","))
    if not set(wanted) <= {State.RESOLVED.value, State.DISCARDED.value}:
        raise click.UsageError(f"--state is {states!r}: expected resolved, discarded, or resolved,discarded.")
    which = read_filter((), states=wanted, until=older_than)
    with database() as (connection, scope):
        number = count(connection, scope, which)
        connection.rollback()  # nothing stays open while a person thinks
        deleted = 0
        if number and not dry_run:
            if not yes:
                confirm(f"Delete the records of {number_of_tasks(number)}?")
            deleted = delete_old(connection, scope, which, who=this_person())
    if as_json:
        print_json({"matched": number, "deleted": deleted, "dry_run": dry_run})
    else:
        whose = number_of_tasks(number if dry_run else deleted)
        say(f"The records of {whose} {'would be' if dry_run else 'are'} deleted.")


def _change(
    change: Change,
    ids: tuple[str, ...],
    every: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    reason: str | None,
    wait: bool = False,
    timeout: float = 0.0,
    **filters: Any,
) -> None:
    which = read_filter(ids, **filters)
    if every and ids:
        raise click.UsageError("Say either which tasks, by their ids, or --all.")
    if not (every or which.selects):
        raise click.UsageError(
            "Say which tasks: with ids, with a filter such as --code, or with --all for all of them."
        )
    with database() as (connection, scope):
        matched = count_for(connection, scope, which, change)
        check_code(connection, scope, which, matched.number)
        by_code = count_codes(connection, scope, which, change) if matched.number else {}
        changed, followed = 0, Followed()
        connection.rollback()  # nothing stays open while a person thinks
        if matched.number and not dry_run:
            if not yes:
                _confirm(change, matched.number, by_code)
            # Not the tasks that failed after they were counted.
            meant = replace(which, up_to=matched.up_to)
            changed = _apply(connection, scope, meant, change, reason, followed, matched.number)
            if wait and changed:
                wait_for_retries(connection, scope, followed, timeout)
    if as_json:
        told = followed_as_json(followed) if wait and not dry_run else {}
        print_json({"matched": matched.number, "changed": changed, "dry_run": dry_run, **told})
    elif not matched.number:
        possible = " or ".join(change.from_states)
        say(f"No task in state {possible} matches.", err=True)
    elif dry_run:
        say(f"{number_of_tasks(matched.number)} would be {change.done}.")
    elif wait and changed:
        say(in_words(followed.states, changed))
    else:
        say(f"{number_of_tasks(changed)} {'is' if changed == 1 else 'are'} {change.done}.")
        if change is Change.RETRY and changed > 1:
            say(HOW_TO_FOLLOW, err=True)
    if not matched.number:
        sys.exit(NOTHING_MATCHED)


def _apply(
    connection: Connection,
    scope: Scope,
    which: Filter,
    change: Change,
    reason: str | None,
    followed: Followed,
    number: int,
) -> int:
    """Apply the change with a progress bar; returns the number of tasks, which are all in `followed` then."""
    with progress_bar(change.capitalize()) as advance:

        def progress(ids: Sequence[int]) -> None:
            followed.add(ids)
            advance(followed.number, number)

        try:
            return apply(connection, scope, which, change, who=this_person(), reason=reason, progress=progress)
        except KeyboardInterrupt:
            rest = number_of_tasks(number - followed.number)
            say(f"Stopped: {number_of_tasks(followed.number)} {change.done}; {rest} as before.", err=True)
            sys.exit(INTERRUPTED)


def _confirm(change: Change, number: int, by_code: dict[str, int]) -> None:
    if number > 1:
        for code, tasks in by_code.items():
            say(f"{tasks:>10,}  {printable(code)}", err=True)
    typed = str(number) if change is Change.DISCARD and number > MOST_BY_YES else None
    confirm(f"{change.capitalize()} {number_of_tasks(number)}?", typed=typed)
