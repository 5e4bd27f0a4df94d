"""The filter options of `dbstorage failed`, and its connection to the database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, TypeVar

import click
from sqlalchemy import Connection

from dbstorage.cli.settings import settings_for_command
from dbstorage.commands.registry import kept_functions
from dbstorage.commands.rejections import CODES_OF_FIELDS
from dbstorage.database.engine import create_engine
from dbstorage.failed_tasks.advice import CODES
from dbstorage.failed_tasks.connected import connected
from dbstorage.failed_tasks.filters import Filter, State, parse_ids, parse_moment
from dbstorage.failed_tasks.lookup import codes
from dbstorage.printable import printable
from dbstorage.settings import Scope

Command = TypeVar("Command", bound=Callable[..., Any])

NOTHING_MATCHED = 1

EXIT_CODES = """
\b
Exit codes:
  0  done
  1  nothing matched, or there is no such task
  2  wrong usage or settings
  3  the database cannot be used
  4  the question was not answered with yes
"""


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


#: Every code that the service itself gives; a command of somebody's own may have others.
KNOWN_CODES = sorted({*CODES, *CODES_OF_FIELDS.values(), "invalid_entry"})


def _complete_code(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete codes in the shell from a fixed list: completion has to work without a database."""
    return [code for code in KNOWN_CODES if code.startswith(incomplete)]


def filter_options(command: Command) -> Command:
    """Add the options that select tasks."""
    for option in reversed(
        [
            click.option(
                "--state",
                "states",
                multiple=True,
                type=click.Choice([state.value for state in State]),
                help="Its state. May be given several times.",
            ),
            click.option("--code", shell_complete=_complete_code, help="Why it failed, such as user_not_found."),
            click.option("--function", type=click.Choice(kept_functions()), help="The command."),
            click.option("--user", "user_id", help="The user's id."),
            click.option("--order", "order_id", help="The order's id."),
            click.option("--task-id", help="The task's id, as in Flower and in the log."),
            click.option(
                "--text", help="Text in the sentence or the task id (in upper or lower case), or in the payload."
            ),
            click.option(
                "--sentence", help="What happened, as `dbstorage failed groups` shows it; … stands for any value."
            ),
            click.option(
                "--since", metavar="MOMENT", help="It last failed at this moment or later: 24h (ago), 2026-05-05."
            ),
            click.option("--until", metavar="MOMENT", help="It last failed before this moment."),
        ]
    ):
        command = option(command)
    return command


def read_filter(
    ids: tuple[str, ...],
    states: tuple[str, ...] = (),
    since: str | None = None,
    until: str | None = None,
    **texts: str | None,
) -> Filter:
    """The filter that the options say; ends the command with a sentence where a value is wrong."""
    now = datetime.now(UTC)
    try:
        return Filter(
            ids=parse_ids(ids),
            states=tuple(State(state) for state in states),
            since=None if since is None else parse_moment(since, now),
            until=None if until is None else parse_moment(until, now),
            **texts,  # type: ignore[arg-type]
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def check_code(connection: Connection, scope: Scope, which: Filter, number: int) -> None:
    """If nothing matches, end the command for a code that no task has: it is more likely mistyped than good news."""
    if which.code is None or number:
        return
    known = sorted({*KNOWN_CODES, *codes(connection, scope)})
    if which.code not in known:
        close = get_close_matches(which.code, known, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise click.UsageError(f"No task ever failed with the code {printable(which.code)}.{hint}")


@contextmanager
def database() -> Iterator[tuple[Connection, Scope]]:
    """A connection and the scope of the service. Raises SettingsError, and what `connected` raises."""
    settings = settings_for_command(redis_needed=False)
    with connected(create_engine(settings.database, application_name="dbstorage failed")) as connection:
        yield connection, settings.scope


def number_of_tasks(number: int) -> str:
    """A number with its noun: `1 task`, `2 tasks`."""
    return f"{number} task" if number == 1 else f"{number} tasks"
