import json
import sys
from datetime import UTC

import click

from dbstorage.cli.output import print_json, print_table, say
from dbstorage.cli.settings import settings_for_command
from dbstorage.database.engine import create_engine
from dbstorage.failed_tasks.connected import connected
from dbstorage.failed_tasks.trail import Operation, read_operations


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
    rows = [
        (f"{each.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z", each.who, each.what, each.affected, _which(each), each.reason)
        for each in found
    ]
    print_table(["when", "who", "what", "tasks", "which", "reason"], rows, right=["tasks"], whole=["when"])


def _which(operation: Operation) -> str | None:
    """The filter, written as options of the command."""
    if operation.filter is None:
        return None
    return ", ".join(
        f"{name} {value if isinstance(value, str) else json.dumps(value)}"
        for name, value in operation.filter.items()
        if name != "up_to"
    )
