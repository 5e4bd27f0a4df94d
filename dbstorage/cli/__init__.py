"""The `dbstorage` command; each of its subcommands has a module of its own in this package."""

from importlib import import_module
from typing import Any

import click

from dbstorage import __version__
from dbstorage.errors import DBStorageError, SettingsError

#: Subcommands, each named as its module and the function therein.
COMMANDS = ("audit", "check", "env", "failed", "generate", "history", "send", "status", "up")

FAILED = 1
WRONG_SETTING = 2


class Commands(click.Group):
    """A group whose commands end with a sentence, never a traceback, when something is wrong that a person can mend.

    A command is imported when it is asked for: together they take a second.
    """

    def list_commands(self, context: click.Context) -> list[str]:
        """The names of all commands."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of this name, None where there is none."""
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"dbstorage.cli.{name}"), name)
        return command

    def invoke(self, context: click.Context) -> Any:
        """Run the command; exit code 2 for wrong settings, 1 for any other error of ours."""
        try:
            return super().invoke(context)
        except DBStorageError as error:
            click.echo(str(error), err=True)
            context.exit(WRONG_SETTING if isinstance(error, SettingsError) else FAILED)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dbstorage")
def main() -> None:
    """Store closed orders and users from a Redis stream in PostgreSQL, and ask for them.

    Commands find Redis and PostgreSQL through REDIS_URL and DATABASE_URL, or, where those are not set, through
    the `dbstorage up` that runs in the current directory.
    """
