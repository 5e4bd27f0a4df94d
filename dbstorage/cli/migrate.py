import click

from dbstorage.cli.output import say
from dbstorage.cli.settings import use_running_servers

NEWEST = ("upgrade", "head")


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--config", is_flag=True, help="Print where alembic.ini is, for ALEMBIC_CONFIG, and do nothing.")
@click.argument("arguments", metavar="[ALEMBIC ARGUMENTS]...", nargs=-1, type=click.UNPROCESSED)
def migrate(config: bool, arguments: tuple[str, ...]) -> None:
    """Create the tables, adopt those that Prisma made, or bring ours to the newest revision.

    Only DATABASE_URL is needed. With arguments it is Alembic itself: `dbstorage migrate current`,
    `dbstorage migrate downgrade base`.

    \b
    Exit codes:
      0  done, or nothing to do
      1  refused, and nothing changed, or PostgreSQL cannot be used
      2  wrong usage or settings
    """
    from alembic.config import CommandLine

    from dbstorage.database.migrate import configuration_file

    if config:
        say(str(configuration_file()))
        return
    use_running_servers()
    CommandLine(prog="dbstorage migrate").main(["--config", str(configuration_file()), *(arguments or NEWEST)])
