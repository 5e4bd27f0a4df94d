import base64
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import click

from dbstorage.cli.failed_change import cancel, discard, purge, restore, retry
from dbstorage.cli.failed_edit import edit
from dbstorage.cli.failed_filter import (
    EXIT_CODES,
    NOTHING_MATCHED,
    check_code,
    database,
    filter_options,
    json_option,
    read_filter,
)
from dbstorage.cli.failed_groups import groups
from dbstorage.cli.groups import SuggestingGroup
from dbstorage.cli.output import csv_line, json_moment, print_json, print_table, say, to_json, write
from dbstorage.cli.settings import settings_for_command
from dbstorage.failed_tasks.advice import advice
from dbstorage.failed_tasks.conflict import compare_with_stored
from dbstorage.failed_tasks.filters import OPEN_STATES
from dbstorage.failed_tasks.lookup import FailedTask, Payload, attempts_of, count, find_all, load
from dbstorage.failed_tasks.readable import MOST_SHOWN, payload_for_json, readable_payload
from dbstorage.printable import printable
from dbstorage.storage.orders import Field

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
#: The columns that are left out first on a narrow terminal.
SPARE = ("attempts", "last failed", "state", "user")


@click.group(cls=SuggestingGroup, commands=[cancel, discard, edit, groups, purge, restore, retry], epilog=EXIT_CODES)
def failed() -> None:
    """List, inspect, retry and discard the tasks that failed.

    A failed task stays until somebody retries or discards it. A retry runs the same task again, with the bytes as they
    came. Any worker does it; where none is running, the retry waits for one.
    """


@failed.command("list", epilog=EXIT_CODES, short_help="List failed tasks, the last failed first.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@filter_options
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Tasks to list at most.")
@click.option("--all", "every", is_flag=True, help="List tasks in every state, without a limit.")
@json_option
def list_(ids: tuple[str, ...], limit: int, every: bool, as_json: bool, **filters: Any) -> None:
    """List failed tasks, the last failed first. Without --state, those in state failed or retrying.

    On a narrow terminal the sentence is cut and columns are left out, so that ids stay whole. Into a pipe it prints
    lines with tabs. With --json it prints an array of objects, times in UTC.
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


@failed.command(epilog=EXIT_CODES, short_help="Show everything about one task, with its payload.")
@click.argument("id", metavar="ID")
@json_option
def show(id: str, as_json: bool) -> None:
    """Show everything about a failed task, its payload included.

    The payload is what the engine sent; it may hold an e-mail address.
    """
    [failed_task_id] = read_filter((id,)).ids
    history_limit = settings_for_command(redis_needed=False).history_limit
    with database() as (connection, scope):
        loaded = load(connection, scope, failed_task_id)
        if loaded is None:
            say(f"There is no failed task {failed_task_id}.", err=True)
            sys.exit(NOTHING_MATCHED)
        task, payload = loaded
        attempts = attempts_of(connection, failed_task_id)
        conflict = compare_with_stored(connection, task, payload, history_limit)
    if as_json:
        fields = {
            **_as_json(task),
            "layout": payload.layout.value,
            "whole_length": payload.whole_length,
            "whole_sha256": payload.whole_sha256,
            "attempts_kept": [{**each._asdict(), "at": json_moment(each.at)} for each in attempts],
            "payload": payload_for_json(payload),
            "payload_base64": base64.b64encode(payload.content).decode(),
            "original_payload": None if payload.original is None else payload_for_json(payload.as_it_came),
            "conflict": None if conflict is None else [each._asdict() for each in conflict],
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
    if conflict is not None:
        say("the stored order, and this one (* differs):")
        for line in _side_by_side(conflict):
            say(line)
    _say_payload("payload:", payload)
    if payload.original is not None:
        _say_payload("payload as it came, before it was mended:", payload.as_it_came)


def _say_payload(title: str, payload: Payload) -> None:
    say(title)
    shown = readable_payload(payload, MOST_SHOWN)
    for line in shown.text.split("\n"):
        say(f"  {line}")
    if shown.cut:
        say("This is the payload's beginning; --json has all of it.", err=True)


def _side_by_side(conflict: Sequence[Field]) -> Iterator[str]:
    """Both orders in columns, with a mark at the fields that differ."""
    rows = [(each.name, printable(each.stored or "-"), printable(each.incoming or "-")) for each in conflict]
    name_width, stored_width = (max(len(row[column]) for row in rows) for column in (0, 1))
    for each, (name, stored, incoming) in zip(conflict, rows, strict=True):
        mark = "*" if each.same is False else " "
        yield f"  {mark} {name:{name_width}}  {stored:{stored_width}}  {incoming}"


@failed.command(epilog=EXIT_CODES, short_help="Print failed tasks with their payloads, for a program.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@filter_options
@click.option("--format", "layout", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
def export(ids: tuple[str, ...], layout: str, **filters: Any) -> None:
    """Print all failed tasks that match, in any state, with their payloads: a JSON object a line, or CSV.

    Payloads are what the engine sent; they may hold e-mail addresses. Bytes that are not UTF-8 are written as \\xff.
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


def _as_json(task: FailedTask) -> dict[str, Any]:
    return {
        name: json_moment(value) if isinstance(value, datetime) else value for name, value in task._asdict().items()
    }


def _cell(task: FailedTask, column: str) -> str | None:
    value = getattr(task, column)
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    return None if value is None else printable(str(value))


def _print_array(tasks: Iterator[FailedTask]) -> None:
    """Print a JSON array item by item, so that the items need not fit into memory."""
    write("[")
    for index, task in enumerate(tasks):
        write(("," if index else "") + "\n  " + to_json(_as_json(task)))
    write("\n]\n")
