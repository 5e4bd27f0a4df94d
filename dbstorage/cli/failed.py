import base64
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

import click
from sqlalchemy import Connection

from dbstorage.cli.output import print_json, print_table, say, say_error, to_json, write
from dbstorage.cli.settings import settings_for_command
from dbstorage.database.engine import create_engine
from dbstorage.errors import DBStorageError, SettingsError
from dbstorage.failed_tasks.access import connected
from dbstorage.failed_tasks.advice import advice
from dbstorage.failed_tasks.filters import FUNCTIONS, OPEN_STATES, Filter, State, parse_ids
from dbstorage.failed_tasks.readable import MOST_SHOWN, payload_for_json, printable, readable_payload
from dbstorage.failed_tasks.store import (
    Change,
    FailedTask,
    apply,
    count,
    count_for,
    find_all,
    load,
)
from dbstorage.settings import Scope

Command = TypeVar("Command", bound=Callable[..., Any])

NOTHING_MATCHED = 1
UNAVAILABLE = 3
NOT_CONFIRMED = 4

EXIT_CODES = """
\b
Exit codes:
  0  done
  1  nothing matched, or there is no such task
  2  wrong usage or settings
  3  the database cannot be used
  4  the question was not answered with yes
"""

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


@click.group(epilog=EXIT_CODES)
def failed() -> None:
    """List, inspect, retry and discard the tasks that failed.

    A failed task stays until somebody retries or discards it. A retry runs the same task again with the bytes as they
    came, by any worker; when none runs at the moment, as soon as one does.
    """


def filter_options(command: Command) -> Command:
    """Add the options that say which tasks are meant."""
    for option in reversed(
        [
            click.option(
                "--state",
                "states",
                multiple=True,
                type=click.Choice([state.value for state in State]),
                help="May be given several times.",
            ),
            click.option("--code", help="Why it failed, such as user_not_found."),
            click.option("--function", help=f"One of {', '.join(FUNCTIONS)}."),
            click.option("--user", "user_id", help="The user's id."),
            click.option("--order", "order_id", help="The order's id."),
            click.option("--task-id", help="The task's id, as in Flower and in the log."),
            click.option("--text", help="Text in the sentence or the task id, in any case, or in the payload."),
        ]
    ):
        command = option(command)
    return command


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@failed.command("list", epilog=EXIT_CODES, short_help="List failed tasks, the last failed first.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@filter_options
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Tasks to list at most.")
@click.option("--all", "every", is_flag=True, help="In every state, and without limit.")
@json_option
def list_(ids: tuple[str, ...], limit: int, every: bool, as_json: bool, **filters: Any) -> None:
    """List failed tasks, the last failed first; where no state is given, those in state failed or retrying.

    Piped, it prints lines with tabs. With --json it prints an array of objects, times in UTC.
    """
    which = _filter(ids, **filters)
    if not (which.states or ids or every):
        which = replace(which, states=OPEN_STATES)
    with _connection() as (connection, scope):
        total = count(connection, scope, which)
        found = find_all(connection, scope, which)
        shown = found if every else islice(found, limit)
        if as_json:
            _print_array(shown)
        elif total:
            rows = [[_cell(task, column) for column in COLUMNS] for task in shown]
            numbers = ("id", "attempts")
            print_table(list(COLUMNS.values()), rows, right=numbers, whole=(*numbers, "state", "code"))
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
    [failed_task_id] = _filter((id,)).ids
    with _connection() as (connection, scope):
        loaded = load(connection, scope, failed_task_id)
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
            "payload": payload_for_json(payload),
            "payload_base64": base64.b64encode(payload.content).decode(),
        }
        print_json(fields, indent=2)
        return
    for name in FailedTask._fields:
        say(f"{name.replace('_', ' ') + ':':17}{_cell(task, name) or '-'}")
        if name == "message" and task.state in OPEN_STATES:
            say(f"{'what to do:':17}{advice(task.code)}")
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
            click.option("--yes", "-y", is_flag=True, help="Do not ask."),
            json_option,
        ]
    ):
        command = option(command)
    return command


@failed.command(epilog=EXIT_CODES, short_help="Run failed tasks again.")
@change_options
def retry(**options: Any) -> None:
    """Run failed tasks again: those with these ids, or all that match the filter.

    Takes tasks in state failed. Each runs once, however many people retry it at the same time.
    """
    _change(Change.RETRY, **options)


@failed.command(epilog=EXIT_CODES, short_help="Give failed tasks up.")
@change_options
def discard(**options: Any) -> None:
    """Give failed tasks up: those with these ids, or all that match the filter.

    Takes tasks in state failed or retrying. Their records stay, in state discarded.
    """
    _change(Change.DISCARD, **options)


def _change(
    change: Change, ids: tuple[str, ...], every: bool, dry_run: bool, yes: bool, as_json: bool, **filters: Any
) -> None:
    which = _filter(ids, **filters)
    if every and ids:
        raise click.UsageError("Say either which tasks, by their ids, or --all.")
    if not (every or which.selects):
        raise click.UsageError(
            "Say which tasks: with ids, with a filter such as --code, or with --all for all of them."
        )
    with _connection() as (connection, scope):
        matched = count_for(connection, scope, which, change)
        changed = 0
        connection.rollback()  # nothing stays open while a person thinks
        if matched.number and not dry_run:
            if not yes:
                _confirm(change, matched.number)
            # Not what failed since it was counted.
            changed = apply(connection, scope, replace(which, up_to=matched.up_to), change)
    if as_json:
        print_json({"matched": matched.number, "changed": changed, "dry_run": dry_run})
    elif not matched.number:
        states = " or ".join(change.from_states)
        say(f"No task in state {states} matches.", err=True)
    elif dry_run:
        say(f"{_tasks(matched.number)} would be {_done(change)}.")
    else:
        say(f"{_tasks(changed)} {'is' if changed == 1 else 'are'} {_done(change)}.")
    if not matched.number:
        sys.exit(NOTHING_MATCHED)


def _confirm(change: Change, number: int) -> None:
    try:
        confirmed = click.confirm(f"{change.capitalize()} {_tasks(number)}?", err=True)
    except click.Abort:
        # The end of the input, or Ctrl-C.
        say("", err=True)
        confirmed = False
    if not confirmed:
        say("Nothing was changed; --yes does it without asking.", err=True)
        sys.exit(NOT_CONFIRMED)


def _filter(ids: tuple[str, ...], states: tuple[str, ...] = (), **texts: str | None) -> Filter:
    try:
        return Filter(ids=parse_ids(ids), states=tuple(State(state) for state in states), **texts)  # type: ignore[arg-type]
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@contextmanager
def _connection() -> Iterator[tuple[Connection, Scope]]:
    """A connection, and whose tasks are meant; ends the command with a sentence where that fails."""
    try:
        settings = settings_for_command()
        engine = create_engine(settings.database, application_name="dbstorage failed")
        with connected(engine) as connection:
            yield connection, settings.scope
    except SettingsError:
        raise
    except DBStorageError as error:
        say_error(error)
        sys.exit(UNAVAILABLE)


def _as_json(task: FailedTask) -> dict[str, Any]:
    return {name: _moment(value) if isinstance(value, datetime) else value for name, value in task._asdict().items()}


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


def _tasks(number: int) -> str:
    return f"{number} task" if number == 1 else f"{number} tasks"


def _done(change: Change) -> str:
    return "retried" if change is Change.RETRY else "discarded"
