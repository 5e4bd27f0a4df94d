"""Celery's own commands, for whoever installed `dbstorage` as a tool and has no `celery` on the PATH."""

from collections.abc import Sequence

import click
from celery import Celery

from dbstorage.cli.settings import use_running_servers

#: Everything behind the name is Celery's, `--help` too.
PASSED_ON = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}

#: Takes all arguments behind the command's name.
arguments_of_celery = click.argument("arguments", nargs=-1, type=click.UNPROCESSED)


def run_celery(command: str, arguments: Sequence[str]) -> None:
    """Run as `celery -A dbstorage COMMAND ARGUMENTS` in this process, without importing from the current directory."""
    if "--help" in arguments:
        # Help needs no settings.
        Celery(set_as_current=False).start([command, "--help"])
        return
    use_running_servers()
    # Its import reads the settings.
    from dbstorage.celery import app

    app.start([command, *arguments])
