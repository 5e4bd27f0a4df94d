import base64
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import click

from dbstorage.cli.failed_filter import (
    EXIT_CODES,
    NOT_CONFIRMED,
    NOTHING_MATCHED,
    Command,
    check_code,
    database,
    filter_options,
    json_option,
    number_of_tasks,
    read_filter,
)
from dbstorage.cli.failed_mend import edit, purge
from dbstorage.cli.failed_wait import in_words, wait_for_retries
from dbstorage.cli.groups import SuggestingGroup
from dbstorage.cli.output import csv_line, print_json, print_table, say, to_json, write
from dbstorage.cli.progress import progress_bar
from dbstorage.failed_tasks.advice import advice
from dbstorage.failed_tasks.filters import OPEN_STATES, State
from dbstorage.failed_tasks.readable import MOST_SHOWN, payload_for_json, printable, readable_payload
from dbstorage.failed_tasks.store import (
    Change,
    FailedTask,
    Group,
    apply,
    attempts_of,
    count,
    count_codes,
    count_for,
    find_all,
    groups_by_user,
    load,
)
from dbstorage.failed_tasks.store import groups as count_groups
from dbstorage.operating.person import this_person

#: Tasks that are discarded by a simple yes; for more, their number has to be typed.
MOST_BY_YES = 100

#: Columns of a list; the e-mail addresses that a payload may hold are not among them.
COLUMNS = {
    "id": "id",
    "state": "state",
    "code": "code",
    "user_id": "user",
    "order_id": "order",
    "attempts": "attempts",
    "last_failed_at": "last failed",
    "message": "what happened",
}
#: What is left out first where the terminal is narrow.
SPARE = ("attempts", "last failed", "state", "user")


@click.group(cls=SuggestingGroup, commands=[edit, purge], epilog=EXIT_CODES)
def failed() -> None:
    """List, inspect, retry and discard the tasks that failed.

    A failed task stays until somebody retries or discards it. A retry runs the same task again with the bytes as they
    came, by any worker; when none runs at the moment, as soon as one does.
    """


@failed.command("list", epilog=EXIT_CODES, short_help="List failed tasks, the last failed first.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@filter_options
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Tasks to list at most.")
@click.option("--all", "every", is_flag=True, help="In every state, and without limit.")
@json_option
def list_(ids: tuple[str, ...], limit: int, every: bool, as_json: bool, **filters: Any) -> None:
    """List failed tasks, the last failed first; where no state is given, those in state failed or retrying.

    On a narrow terminal the sentence is cut and columns are left out, so that ids stay whole.
    Piped, it prints lines with tabs. With --json it prints an array of objects, times in UTC.
    """
    which = read_filter(ids, **filters)
    if not (which.states or ids or every):
        which = replace(which, states=OPEN_STATES)
    with database() as (connection, scope):
        total = count(connection, scope, which)
        check_code(connection, scope, which, total)
        found = find_all(connection, scope, which)
        shown = found if every else islice(found, limit)
        if as_json:
            _print_array(shown)
        elif total:
            rows = [[_cell(task, column) for column in COLUMNS] for task in shown]
            numbers = ("id", "attempts")
            print_table(list(COLUMNS.values()), rows, right=numbers, cut="what happened", spare=SPARE)
    if not total:
        say("No failed task matches.", err=True)
        sys.exit(NOTHING_MATCHED)
    if total > limit and not every:
        say(f"{limit} of {total} tasks; --limit or --all shows more.", err=True)


@failed.command(epilog=EXIT_CODES, short_help="Show everything about one, with its payload.")
@click.argument("id", metavar="ID")
@json_option
def show(id: str, as_json: bool) -> None:
    """Show everything about a failed task, its payload included.

    The payload is what the engine sent, which may hold an e-mail address.
    """
    [failed_task_id] = read_filter((id,)).ids
    with database() as (connection, scope):
        loaded = load(connection, scope, failed_task_id)
        attempts = attempts_of(connection, failed_task_id)
    if loaded is None:
        say(f"There is no failed task {failed_task_id}.", err=True)
        sys.exit(NOTHING_MATCHED)
    task, payload = loaded
    if as_json:
        fields = {
            **_as_json(task),
            "layout": payload.layout.value,
            "whole_length": payload.whole_length,
            "whole_sha256": payload.whole_sha256,
            "attempts_kept": [{**each._asdict(), "at": _moment(each.at)} for each in attempts],
            "payload": payload_for_json(payload),
            "payload_base64": base64.b64encode(payload.content).decode(),
        }
        print_json(fields, indent=2)
        return
    for name in FailedTask._fields:
        say(f"{name.replace('_', ' ') + ':':17}{_cell(task, name) or '-'}")
        if name == "message" and task.state in OPEN_STATES:
            say(f"{'what to do:':17}{advice(task.code)}")
    for each in attempts:
        what = f"{each.outcome} {each.code}: {each.message}" if each.code else each.outcome
        say(f"{f'attempt {each.number}:':17}{each.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z {what}")
    say(f"{'layout:':17}{payload.layout}")
    if payload.whole_length is not None:
        say(f"{'whole length:':17}{payload.whole_length} bytes; the beginning of the payload is kept")
        say(f"{'whole sha256:':17}{payload.whole_sha256 or '-'}")
    say("payload:")
    shown = readable_payload(payload, MOST_SHOWN)
    for line in shown.text.split("\n"):
        say(f"  {line}")
    if shown.cut:
        say("This is the payload's beginning; --json has all of it.", err=True)


def change_options(command: Command) -> Command:
    """Add what `retry` and `discard` have in common."""
    for option in reversed(
        [
            click.argument("ids", nargs=-1, metavar="[ID]..."),
            filter_options,
            click.option(
                "--all", "every", is_flag=True, help="All of them; needed where no id and no filter is given."
            ),
            click.option("--dry-run", is_flag=True, help="Only say how many there are."),
            click.option("--reason", help="Kept in the list of operations."),
            click.option("--yes", "-y", is_flag=True, help="Do not ask."),
            json_option,
        ]
    ):
        command = option(command)
    return command


@failed.command(epilog=EXIT_CODES, short_help="Run failed tasks again.")
@change_options
@click.option("--wait", is_flag=True, help="Wait until they have run, and say how many are stored; Ctrl-C ends that.")
def retry(**options: Any) -> None:
    """Run failed tasks again: those with these ids, or all that match the filter.

    Takes tasks in state failed. Each runs once, however many people retry it at the same time. The command returns at
    once, while workers run them, unless there is a --wait.
    """
    _change(Change.RETRY, **options)


@failed.command(epilog=EXIT_CODES, short_help="Give failed tasks up.")
@change_options
def discard(**options: Any) -> None:
    """Give failed tasks up: those with these ids, or all that match the filter.

    Takes tasks in state failed or retrying. Their records stay, in state discarded.
    """
    _change(Change.DISCARD, **options)


@failed.command(epilog=EXIT_CODES, short_help="Undo a discard.")
@change_options
def restore(**options: Any) -> None:
    """Undo a discard: those with these ids, or all that match the filter, are failed again, and can be retried."""
    _change(Change.RESTORE, **options)


@failed.command(epilog=EXIT_CODES, short_help="Count failed tasks by code and sentence, or by user.")
@filter_options
@click.option("--by", type=click.Choice(["sentence", "user"]), default="sentence", show_default=True)
@json_option
def groups(by: str, as_json: bool, **filters: Any) -> None:
    """Count failed tasks by code and sentence, the largest group first; values in the sentences count as equal.

    Where no state is given, those in state failed or retrying.
    """
    which = read_filter((), **filters)
    if not which.states:
        which = replace(which, states=OPEN_STATES)
    with database() as (connection, scope):
        found = (groups_by_user if by == "user" else count_groups)(connection, scope, which)
        check_code(connection, scope, which, len(found))
    if as_json:
        print_json([_group_as_json(each, by) for each in found], indent=2)
    elif found:
        rows = [
            (
                each.number,
                printable(each.code),
                _short(each.first_failed_at),
                _short(each.last_failed_at),
                printable(each.sentence),
            )
            for each in found
        ]
        print_table(
            ["tasks", "code", "first", "last", "user" if by == "user" else "what happened"], rows, right=["tasks"]
        )
    if not found:
        say("No failed task matches.", err=True)
        sys.exit(NOTHING_MATCHED)


@failed.command(epilog=EXIT_CODES, short_help="Print failed tasks with their payloads, for a program.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@filter_options
@click.option("--format", "layout", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
def export(ids: tuple[str, ...], layout: str, **filters: Any) -> None:
    """Print all failed tasks that match with their payloads, in any state: a JSON object a line, or CSV.

    Payloads are what the engine sent, which may hold e-mail addresses. Bytes that are no UTF-8 stand as \\xff.
    """
    which = read_filter(ids, **filters)
    names = [*FailedTask._fields, "layout", "payload"]
    with database() as (connection, scope):
        check_code(connection, scope, which, count(connection, scope, which))
        if layout == "csv":
            write(csv_line(names))
        for task in find_all(connection, scope, which):
            loaded = load(connection, scope, task.id)
            connection.rollback()  # nothing stays open while the reader of a pipe takes its time
            if loaded is None:
                continue
            payload = loaded[1]
            fields = {**_as_json(task), "layout": payload.layout.value, "payload": payload_for_json(payload)}
            write(to_json(fields) + "\n" if layout == "jsonl" else csv_line([fields[name] for name in names]))


def _change(
    change: Change,
    ids: tuple[str, ...],
    every: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    reason: str | None,
    wait: bool = False,
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
        changed, states = 0, None
        connection.rollback()  # nothing stays open while a person thinks
        if matched.number and not dry_run:
            if not yes:
                _confirm(change, matched.number, by_code)
            # Not what failed since it was counted.
            meant = replace(which, up_to=matched.up_to)
            awaited = replace(meant, states=(State.FAILED,)) if wait else None
            retried = [each.id for each in find_all(connection, scope, awaited)] if awaited else []
            with progress_bar(f"{change.capitalize()}") as advance:
                changed = apply(
                    connection,
                    scope,
                    meant,
                    change,
                    who=this_person(),
                    reason=reason,
                    progress=lambda done: advance(done, matched.number),
                )
            states = wait_for_retries(connection, scope, retried) if retried else None
    if as_json:
        told = {"stored": states[State.RESOLVED], "failed_again": states[State.FAILED]} if states else {}
        print_json({"matched": matched.number, "changed": changed, "dry_run": dry_run, **told})
    elif not matched.number:
        possible = " or ".join(change.from_states)
        say(f"No task in state {possible} matches.", err=True)
    elif dry_run:
        say(f"{number_of_tasks(matched.number)} would be {change.done}.")
    elif states is not None:
        say(in_words(states, changed))
    else:
        say(f"{number_of_tasks(changed)} {'is' if changed == 1 else 'are'} {change.done}.")
    if not matched.number:
        sys.exit(NOTHING_MATCHED)


def _confirm(change: Change, number: int, by_code: dict[str, int]) -> None:
    if number > 1:
        for code, tasks in by_code.items():
            say(f"{tasks:>10,}  {printable(code)}", err=True)
    question = f"{change.capitalize()} {number_of_tasks(number)}?"
    try:
        if change is Change.DISCARD and number > MOST_BY_YES:
            confirmed = click.prompt(f"{question} Type their number", err=True).replace(",", "").strip() == str(number)
        else:
            confirmed = click.confirm(question, err=True)
    except click.Abort:
        # The end of the input, or Ctrl-C.
        say("", err=True)
        confirmed = False
    if not confirmed:
        say("Nothing was changed; --yes does it without asking.", err=True)
        sys.exit(NOT_CONFIRMED)


def _group_as_json(group: Group, by: str) -> dict[str, Any]:
    return {
        "code": group.code,
        by: group.sentence,
        "number": group.number,
        "first_failed_at": _moment(group.first_failed_at),
        "last_failed_at": _moment(group.last_failed_at),
    }


def _as_json(task: FailedTask) -> dict[str, Any]:
    return {name: _moment(value) if isinstance(value, datetime) else value for name, value in task._asdict().items()}


def _short(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}Z"


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cell(task: FailedTask, column: str) -> str | None:
    value = getattr(task, column)
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    return None if value is None else printable(str(value))


def _print_array(tasks: Iterator[FailedTask]) -> None:
    """Print a JSON array item by item: there may be more than memory likes."""
    write("[")
    for index, task in enumerate(tasks):
        write(("," if index else "") + "\n  " + to_json(_as_json(task)))
    write("\n]\n")
