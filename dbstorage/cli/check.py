import os
import sys
from collections.abc import Iterator
from itertools import chain

import click

from dbstorage.checks.broker import check_broker
from dbstorage.checks.database_server import check_database
from dbstorage.checks.finding import Finding, Grade, warning
from dbstorage.checks.identity import check_identity
from dbstorage.checks.redis_server import check_redis
from dbstorage.cli.exit_codes import UNAVAILABLE
from dbstorage.cli.output import console, print_json, say, text
from dbstorage.cli.settings import settings_for_command
from dbstorage.operating.person import this_person
from dbstorage.replay.position import accept as accept_database
from dbstorage.settings import slips

PROBLEMS = 1
SETTINGS = "Settings"
STYLES = {Grade.FINE: "green", Grade.WARNING: "yellow", Grade.PROBLEM: "bold red"}


@click.command()
@click.option("--no-write", is_flag=True, help="Skip the trials, which write something and roll it back.")
@click.option("--accept", is_flag=True, help="Accept the database as it is as the service's own.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of what was found.")
def check(no_write: bool, accept: bool, as_json: bool) -> None:
    """Try what the service does, and say what would keep it from working and how it is mended.

    A user, orders, histories, a failed task and a move are written with the service's own statements and rolled back:
    nothing is changed, no number is drawn from a sequence. It also says what `dbstorage migrate` would do.

    Where the service waits because the database has gone back, or is another one, --accept lets it go on with the
    database as it is: what that lacks stays missing. `dbstorage replay` brings it back.

    \b
    Exit codes:
      0  no problem (there may be warnings)
      1  a problem
      2  wrong usage or settings
      3  Redis, the broker or PostgreSQL cannot be used
    """
    settings = settings_for_command()
    if accept:
        accept_database(settings, this_person())
        say("The database counts as the service's own now, as it is: workers go on with it.", err=True)
    findings = list(
        chain(
            _slips(),
            check_redis(settings, trial=not no_write),
            check_broker(settings, trial=not no_write),
            check_database(settings, trial=not no_write),
            check_identity(settings),
        )
    )
    if as_json:
        print_json([finding._asdict() for finding in findings], indent=2)
    else:
        _print(findings)
    if any(finding.away for finding in findings):
        sys.exit(UNAVAILABLE)
    sys.exit(PROBLEMS if any(finding.grade is Grade.PROBLEM for finding in findings) else 0)


def _slips() -> Iterator[Finding]:
    for name, meant in slips(os.environ).items():
        yield warning(SETTINGS, f"{name} is set, and nothing reads it: did you mean {meant}?")


def _print(findings: list[Finding]) -> None:
    terminal = console()
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        line = text(f"{finding.grade:8} ", style=STYLES[finding.grade])
        terminal.print(
            line.append_text(text(f"{finding.subject:{width}}  {finding.sentence}", style="default")), soft_wrap=True
        )
