"""The `dbstorage` command; each of its subcommands has a module of its own in this package."""

from typing import Any

import click

from dbstorage import __version__
from dbstorage.cli import audit, check, env, failed, generate, history, send, status, up
from dbstorage.errors import DBStorageError, SettingsError

FAILED = 1
WRONG_SETTING = 2


class Commands(click.Group):
    """A group whose commands end with a sentence, never a traceback, when something is wrong that a person can mend."""

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


main.add_command(up.up)
main.add_command(env.env)
main.add_command(check.check)
main.add_command(send.send)
main.add_command(history.history)
main.add_command(generate.generate)
main.add_command(failed.failed)
main.add_command(status.status)
main.add_command(audit.audit)
