"""The `dbstorage` command; each of its subcommands has a module of its own in this package."""

from importlib import import_module
from typing import Any

import click

from dbstorage import __version__
from dbstorage.cli.exit_codes import UNAVAILABLE, WRONG_USAGE
from dbstorage.cli.groups import SuggestingGroup
from dbstorage.cli.output import print_any_character, say_error
from dbstorage.errors import (
    DatabaseNotReadyError,
    DatabaseUnavailableError,
    DBStorageError,
    RedisUnavailableError,
    SettingsError,
)

#: Subcommands, each named as its module and the function therein, with what `dbstorage --help` says of it.
COMMANDS = {
    "audit": "Prove that nothing was lost.",
    "check": "Say what would keep the service from working.",
    "env": "Print shell lines that set the servers' URLs.",
    "failed": "List, inspect, retry and discard failed tasks.",
    "find": "Say where an order, user, entry or request is.",
    "flower": "Start the dashboard.",
    "generate": "Print made-up commands, for `dbstorage send`.",
    "grants": "Print the rights that the service needs.",
    "history": "Ask the service for a user's closed orders.",
    "migrate": "Create or migrate the tables.",
    "operations": "List what operators did.",
    "pause": "Store nothing until somebody resumes.",
    "replay": "Run the stream again, for a database that was restored.",
    "resume": "End a pause.",
    "send": "Play a file of commands into the command stream.",
    "status": "Show whether all is well, and what is behind.",
    "up": "Start the whole service on this machine.",
    "worker": "Start a worker.",
}

FAILED = 1


class Commands(SuggestingGroup):
    """A group whose commands end with a sentence, never a traceback, when something is wrong that a person can mend.

    A command is imported when it is called, and not for the list of them: together they take a second.
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

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, context: click.Context) -> Any:
        """Run the command; exit code 2 for wrong settings, 3 without a server, 1 for any other error of ours."""
        print_any_character()
        try:
            return super().invoke(context)
        except DBStorageError as error:
            say_error(error)
            context.exit(exit_code_of(error))


def exit_code_of(error: DBStorageError) -> int:
    """What a command ends with that meets this error."""
    match error:
        case SettingsError():
            return WRONG_USAGE
        case RedisUnavailableError() | DatabaseUnavailableError() | DatabaseNotReadyError():
            return UNAVAILABLE
    return FAILED


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dbstorage")
def main() -> None:
    """Store closed orders and users from a Redis stream in PostgreSQL, and ask for them.

    Commands find Redis and PostgreSQL through REDIS_URL and DATABASE_URL, or, where those are not set, through
    the `dbstorage up` that runs in the current directory.
    """
