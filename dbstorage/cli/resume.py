import sys

import click

from dbstorage.cli.output import print_json, say
from dbstorage.cli.settings import settings_for_command
from dbstorage.failed_tasks.trail import RESUME, record_alone
from dbstorage.operating.pause import resume_service
from dbstorage.operating.person import this_person
from dbstorage.redis_access.client import connect_redis
from dbstorage.redis_access.explained import redis_errors_explained

NOT_PAUSED = 1


@click.command()
@click.option("--reason", help="Why; `dbstorage operations` shows it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def resume(reason: str | None, as_json: bool) -> None:
    """End a pause: within two seconds the service goes on with what waits.

    \b
    Exit codes:
      0  the pause is over
      1  it was not paused
      2  wrong usage or settings
      3  Redis cannot be used
    """
    settings = settings_for_command()
    who = this_person()
    with connect_redis(settings.redis_url) as redis, redis_errors_explained():
        ended = resume_service(redis, settings)
    if ended is None:
        if as_json:
            print_json({"ended": None, "recorded": False})
        say("The service is not paused.", err=True)
        sys.exit(NOT_PAUSED)
    unrecorded = record_alone(settings, RESUME, who, reason=reason)
    if as_json:
        print_json({"ended": ended._asdict(), "recorded": unrecorded is None})
    else:
        say(f"Resumed. It was paused by {ended.who}: {ended.reason}.")
    if unrecorded is not None:
        say(f"It is not in the list of operations: {unrecorded}", err=True)
