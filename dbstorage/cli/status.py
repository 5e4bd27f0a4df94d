import sys
import time
from dataclasses import asdict
from functools import partial

import click

from dbstorage.cli.output import console, print_json, print_table, redraw, say
from dbstorage.cli.settings import settings_for_command
from dbstorage.failed_tasks.filters import State
from dbstorage.failed_tasks.trail import ACKNOWLEDGE, record_alone
from dbstorage.metrics.figures import read_stream
from dbstorage.operating.person import this_person
from dbstorage.operating.workers import ASIDE, STANDS_BY, Worker
from dbstorage.printable import printable
from dbstorage.redis_access.client import connect_redis
from dbstorage.redis_access.explained import redis_errors_explained
from dbstorage.redis_access.keys import trimmed_key
from dbstorage.redis_access.trimmed import KNOWN, SENTENCE
from dbstorage.settings import Ordering, Settings
from dbstorage.status import DatabaseStatus, ServiceStatus, StreamStatus, read_status

UNKNOWN = "unknown"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; what is not known is null.")
@click.option(
    "--watch",
    type=click.FloatRange(min=0.1),
    is_flag=False,
    flag_value=2.0,
    metavar="[SECONDS]",
    help="Repeat every SECONDS (2 without a number); with --json a line each time.",
)
@click.option(
    "--acknowledge",
    is_flag=True,
    help="Note that the entries that were trimmed unread are known, so that they are not reported again.",
)
def status(as_json: bool, watch: float | None, acknowledge: bool) -> None:
    """Show whether all is well, how far the work is behind, which workers there are, and what failed.

    The first line is the verdict: whether all is well, and if not, what is wrong and since when.

    `lag` is the number of entries that no worker has read, `pending` the number that were read and are not finished.
    What Redis or PostgreSQL cannot tell is `unknown`.

    \b
    Exit codes:
      0  fine
      1  behind, paused, nobody reads, or entries were trimmed unread
      2  wrong usage or settings
      3  Redis or PostgreSQL cannot be used
    """
    settings = settings_for_command()
    if acknowledge:
        _acknowledge(settings)
    if watch is None:
        found = read_status(settings)
        _print(found, as_json, indent=2)
        sys.exit(found.verdict.exit_code)
    try:
        while True:
            found = read_status(settings)
            if as_json or not console().is_terminal:
                _print(found, as_json, indent=None)
            else:
                redraw(partial(_print, found, as_json, indent=None))
            sys.stdout.flush()
            time.sleep(watch)
    except KeyboardInterrupt:
        sys.exit(found.verdict.exit_code)


def _acknowledge(settings: Settings) -> None:
    with connect_redis(settings.redis_url) as redis, redis_errors_explained():
        figures = read_stream(redis, settings)
        lost = figures.lost if figures else 0
        if figures is None or not lost:
            return
        redis.hset(trimmed_key(settings), KNOWN, str(figures.trimmed_unread))
    record_alone(settings, ACKNOWLEDGE, this_person(), reason=f"{lost} {SENTENCE}")


def _print(found: ServiceStatus, as_json: bool, indent: int | None) -> None:
    if as_json:
        verdict = {**found.verdict._asdict(), "exit_code": found.verdict.exit_code}
        print_json({**asdict(found), "verdict": verdict}, indent=indent)
        return
    redis, database = found.redis, found.database
    say(f"{'verdict:':16}{found.verdict.sentence}")
    for name, value in [
        ("redis", _server(redis.up, redis.version, redis.url, redis.server)),
        ("stream", f"{printable(redis.name)} (group {printable(redis.group)})"),
        ("length", _number(redis.length)),
        ("lag", f"{redis.lag_at_least} or more" if redis.lag_at_least else _number(redis.lag)),
        ("oldest unread", _age(redis.oldest_unread_seconds, redis.lag)),
        ("pending", _number(redis.pending)),
        ("oldest pending", _age(redis.oldest_pending_seconds, redis.pending)),
        ("reader", _reader(redis)),
        ("standing by", _standbys(redis)),
        ("database", _server(database.up, database.version, database.address)),
        ("today (UTC)", _today(database)),
        ("last order", _last_order(database)),
        ("failed tasks", "none" if database.failed_tasks == {} else "" if database.failed_tasks else UNKNOWN),
    ]:
        say(f"{name + ':':16}{value}".rstrip())
    if database.failed_tasks:
        _print_counts(database.failed_tasks)
    if redis.consumers:
        say("consumers:")
        print_table(
            ["name", "pending", "idle", "alive"],
            [
                (printable(one.name), one.pending, f"{one.idle_seconds:.1f} s", "yes" if one.alive else "no")
                for one in redis.consumers
            ],
            right=["pending", "idle"],
        )
    else:
        say(f"{'consumers:':16}{UNKNOWN if redis.consumers is None else 'none'}")
    lost = f"{redis.trimmed_unread:,} {SENTENCE}" if redis.trimmed_unread else None
    for problem in (redis.problem, redis.refusal, database.problem, found.broker_problem, lost, *database.locked):
        if problem is not None:
            say(problem, err=True)


def _standbys(redis: StreamStatus) -> str:
    if redis.workers is None:
        return UNKNOWN
    found = [_standby(worker) for worker in redis.workers if worker.state in (STANDS_BY, ASIDE)]
    return ", ".join(found) or "nobody"


def _standby(worker: Worker) -> str:
    told = " (told to: until add_consumer)" if worker.state == ASIDE else ""
    return printable(worker.name) + told


def _today(database: DatabaseStatus) -> str:
    if database.today is None:
        return UNKNOWN
    by_symbol = [f"{each.orders:,} {printable(each.symbol)} (profit {each.profit})" for each in database.today]
    return ", ".join(by_symbol) or "no order was closed"


def _last_order(database: DatabaseStatus) -> str:
    last = database.last_order
    if last is None:
        return UNKNOWN if database.today is None else "none"
    return f"{printable(last.order_id)} of {printable(last.user_id)}, {printable(last.symbol)}, closed {last.closed}"


def _print_counts(counts: dict[str, dict[str, int]]) -> None:
    states = [state.value for state in State]
    rows = [(printable(code), *(by_state.get(state, 0) for state in states)) for code, by_state in counts.items()]
    print_table(["code", *states], rows, right=states)


def _server(up: bool, version: str | None, place: str, name: str | None = None) -> str:
    what = f", {name or 'version'} {version}" if version else ""
    return f"{'up' if up else 'down'}{what}, {place}"


def _number(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)


def _age(seconds: float | None, number: int | None) -> str:
    if number == 0:
        return "none"
    return UNKNOWN if seconds is None else f"{seconds:.1f} s"


def _reader(redis: StreamStatus) -> str:
    if not redis.up:
        return UNKNOWN
    if redis.reader is not None:
        return f"{printable(redis.reader.name)} on {printable(redis.reader.host)} (process {redis.reader.process_id})"
    if redis.ordering == Ordering.PARALLEL:
        aside = any(worker.state == ASIDE for worker in redis.workers or ())
        return f"every worker{' that is not told to stand by' if aside else ''} (ORDERING=parallel)"
    return "none: no worker reads the stream"
