import sys
from datetime import UTC, datetime

import click

from dbstorage.cli.output import console, print_json, print_table, say
from dbstorage.cli.settings import settings_for_command
from dbstorage.database.engine import create_engine
from dbstorage.failed_tasks.connected import connected
from dbstorage.failed_tasks.trail import read_operations

#: A terminal of fewer columns has one column for which tasks, and why.
WIDE = 110


@click.command()
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Operations at most.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def operations(limit: int, as_json: bool) -> None:
    """List what operators did, the last first: who did what, to which tasks, to how many, and why.

    \b
    Exit codes:
      0  done
      2  wrong usage or settings
      3  PostgreSQL cannot be used
    """
    settings = settings_for_command()
    engine = create_engine(settings.database, application_name="dbstorage operations")
    with connected(engine) as connection:
        found = read_operations(connection, settings.scope, limit)
    if as_json:
        print_json([{**vars(each), "at": each.at.astimezone(UTC).isoformat()} for each in found], indent=2)
        return
    if not found:
        say("No operator has done anything yet.", err=True)
        sys.exit(0)
    done = [(_moment(each.at), each.who, each.what, each.number) for each in found]
    columns = ["when", "who", "what", "tasks"]
    if console().is_terminal and console().width < WIDE:
        last = [" · ".join(filter(None, (each.which or None, each.reason))) for each in found]
        rows: list[tuple[object, ...]] = [(*row, words) for row, words in zip(done, last, strict=True)]
        print_table([*columns, "which · reason"], rows, right=["tasks"], whole=["when", "what"])
    else:
        rows = [(*row, each.which or None, each.reason) for row, each in zip(done, found, strict=True)]
        print_table([*columns, "which", "reason"], rows, right=["tasks"], whole=["when", "what"])


def _moment(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
