import sys

import click

from dbstorage.cli.output import print_json, say
from dbstorage.cli.settings import settings_for_command
from dbstorage.failed_tasks.trail import PAUSE, record_alone
from dbstorage.operating.pause import NO_REASON, pause_service
from dbstorage.operating.person import this_person
from dbstorage.redis_access.client import connect_redis
from dbstorage.redis_access.explained import redis_errors_explained


@click.command()
@click.option(
    "--reason", default=NO_REASON, help="Why; shown on the page Service, by `dbstorage status` and in the log."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def pause(reason: str, as_json: bool) -> None:
    """Pause the service: within two seconds nothing more is stored, until `dbstorage resume`.

    No entry is lost and none fails: they wait in the stream. Questions are answered with the error `paused`. The
    pause survives a restart of the workers, and one of a Redis that writes to its disk. A second `dbstorage pause`
    changes the reason.

    \b
    Exit codes:
      0  paused
      2  wrong usage or settings
      3  Redis cannot be used
    """
    settings = settings_for_command()
    who = this_person()
    with connect_redis(settings.redis_url) as redis, redis_errors_explained():
        begun = pause_service(redis, settings, reason, who)
    unrecorded = record_alone(settings, PAUSE, who, reason=begun.reason)
    if as_json:
        print_json({"paused": begun._asdict(), "recorded": unrecorded is None})
    else:
        say(f"Paused: {begun.reason}. `dbstorage resume` lets it go on.")
    if unrecorded is not None:
        say(f"It is not in the list of operations: {unrecorded}", err=True)
    sys.exit(0)
