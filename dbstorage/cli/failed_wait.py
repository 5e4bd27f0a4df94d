"""Waiting until a retry has ended."""

import time
from collections.abc import Callable
from typing import Any

import click
from sqlalchemy import Connection

from dbstorage.cli.failed_filter import Command
from dbstorage.cli.output import say
from dbstorage.cli.progress import progress_bar
from dbstorage.failed_tasks.filters import State
from dbstorage.failed_tasks.retry_progress import Followed
from dbstorage.settings import Scope

POLL_SECONDS = 0.5
HOW_TO_FOLLOW = "`dbstorage failed list --state retrying` shows what is left, `dbstorage failed cancel` stops it."


def wait_options(command: Command) -> Command:
    """Add the options of commands that retry."""
    options: list[Callable[[Any], Any]] = [
        click.option(
            "--wait/--no-wait",
            default=True,
            help="Wait until workers have run them, and say how many are stored (default: yes). Ctrl-C ends this.",
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            default=10.0,
            show_default=True,
            help="Seconds without any progress after which the waiting ends; the retry goes on.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def wait_for_retries(connection: Connection, scope: Scope, followed: Followed, timeout: float) -> None:
    """Wait until none of these tasks is retrying any more, nothing has happened for so many seconds, or Ctrl-C.

    Raises database errors, of which `connected` makes a sentence.
    """
    changed_at = time.monotonic()
    try:
        with progress_bar("Retried") as advance:
            followed.look(connection, scope)
            while followed.left:
                advance(followed.number - followed.left, followed.number)
                if time.monotonic() - changed_at > timeout:
                    break
                time.sleep(POLL_SECONDS)
                before = followed.left
                followed.look(connection, scope)
                if followed.left != before:
                    changed_at = time.monotonic()
            else:
                return
        say(f"Nothing has happened for {timeout:g} s: does a worker run? The retry goes on. {HOW_TO_FOLLOW}", err=True)
    except KeyboardInterrupt:
        say(f"The waiting ends here; the retry goes on. {HOW_TO_FOLLOW}", err=True)


def as_json(followed: Followed) -> dict[str, int]:
    """What became of the tasks."""
    states = followed.states
    return {"stored": states[State.RESOLVED], "failed_again": states[State.FAILED], "left": followed.left}
