"""Failed tasks by code and sentence, or by user."""

import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import click

from dbstorage.cli.failed_filter import (
    EXIT_CODES,
    NOTHING_MATCHED,
    check_code,
    database,
    filter_options,
    json_option,
    read_filter,
)
from dbstorage.cli.output import json_moment, print_json, print_table, say
from dbstorage.failed_tasks.filters import OPEN_STATES
from dbstorage.failed_tasks.groups import MOST_GROUPS, By, Group, find_groups
from dbstorage.printable import printable


@click.command(epilog=EXIT_CODES, short_help="Count failed tasks by code and sentence, or by user.")
@filter_options
@click.option(
    "--by",
    type=click.Choice([by.value for by in By]),
    default=By.SENTENCE.value,
    show_default=True,
    help="What a group has in common, beside the code.",
)
@json_option
def groups(by: str, as_json: bool, **filters: Any) -> None:
    """Count failed tasks by code and sentence, the largest group first. Values in the sentences count as equal.

    Without --state, those in state failed or retrying. `dbstorage failed retry --code CODE --sentence SENTENCE` retries
    a group; discard and edit take the same options.
    """
    which = read_filter((), **filters)
    if not which.states:
        which = replace(which, states=OPEN_STATES)
    with database() as (connection, scope):
        found = find_groups(connection, scope, which, By(by), MOST_GROUPS + 1)
        check_code(connection, scope, which, len(found))
    shown = found[:MOST_GROUPS]
    if as_json:
        print_json([_as_json(each, by) for each in shown], indent=2)
    elif shown:
        rows = [
            (
                each.number,
                printable(each.code),
                _short(each.first_failed_at),
                _short(each.last_failed_at),
                printable(each.what or "-"),
            )
            for each in shown
        ]
        what = "user" if by == By.USER else "what happened"
        # An id stays whole; a sentence may take several lines.
        whole = ["code", "first", "last", *(["user"] if by == By.USER else [])]
        columns = ["tasks", "code", "first", "last", what]
        print_table(
            columns, rows, right=["tasks"], whole=whole, spare=["first", "last"] if by == By.USER else ["first"]
        )
    if not found:
        say("No failed task matches.", err=True)
        sys.exit(NOTHING_MATCHED)
    if len(found) > MOST_GROUPS:
        say(f"These are the {MOST_GROUPS} largest groups; a filter such as --code shows others.", err=True)


def _as_json(group: Group, by: str) -> dict[str, Any]:
    return {
        "code": group.code,
        by: group.what,
        "number": group.number,
        "first_failed_at": json_moment(group.first_failed_at),
        "last_failed_at": json_moment(group.last_failed_at),
    }


def _short(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}Z"
