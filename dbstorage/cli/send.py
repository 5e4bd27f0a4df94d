import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, BinaryIO

import click
from redis import Redis

from dbstorage.cli.exit_codes import INTERRUPTED, WRONG_USAGE
from dbstorage.cli.output import print_json, say
from dbstorage.cli.progress import Advance, progress_bar
from dbstorage.cli.settings import settings_for_command
from dbstorage.database.engine import create_engine
from dbstorage.errors import DatabaseUnavailableError
from dbstorage.redis_access.client import connect_redis
from dbstorage.settings import Settings
from dbstorage.traffic.aftermath import AnswerCount, FailedCount, count_acknowledged, count_failed
from dbstorage.traffic.command_files import STANDARD_INPUT, check_lines, open_commands, read_lines
from dbstorage.traffic.sending import Sent, send_commands
from dbstorage.wire.entry import Layout

NOT_FINISHED = 1
#: Seconds that Redis may take for one chunk of entries.
REDIS_TIMEOUT = 10.0
#: Seconds between two looks at how far the workers are.
LOOK_INTERVAL = 0.05


@click.command()
@click.argument("file", metavar="FILE")
@click.option(
    "--layout",
    type=click.Choice([layout.value for layout in Layout]),
    default=Layout.ENVELOPE.value,
    show_default=True,
    help="One field `message` with the line as it stands, or a field for each of its keys.",
)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Entries a second at most, sent steadily.")
@click.option("--wait/--no-wait", default=True, help="Wait until the workers have finished them (default: yes).")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="Seconds without any progress after which the waiting ends.",
)
@click.option("--raw", is_flag=True, help="Send each line as it stands, whatever it is: for testing bad input.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def send(file: str, layout: str, rate: float | None, wait: bool, timeout: float, raw: bool, as_json: bool) -> None:
    """Play a file of commands, one JSON object a line, into the command stream; - is standard input.

    The whole file is checked first: if a line is not a JSON object, nothing is sent. At the end it says what became of
    the entries, of the questions among them, and of what failed (see `dbstorage failed`).

    \b
    Exit codes:
      0  sent, and with --wait finished by the workers
      1  sent, but not finished in time
      2  wrong usage, settings or file
      3  Redis cannot be used
    130  stopped by Ctrl-C; it says what is in the stream already
    """
    wanted_layout = Layout(layout)
    if raw and wanted_layout is Layout.FLAT:
        raise click.UsageError("--raw sends lines as they stand, so it goes with the layout envelope only.")
    settings = settings_for_command()
    name = "standard input" if file == STANDARD_INPUT else file
    try:
        opened = open_commands(file)
    except OSError as error:
        _refuse(f"{name} cannot be read: {error.strerror}.")
    with opened, connect_redis(settings.redis_url, REDIS_TIMEOUT) as redis:
        lines = _check(opened, name, wanted_layout, raw)
        answered = AnswerCount(redis, settings)

        written = 0

        def heard(sent: Sent) -> None:
            nonlocal written
            written = len(sent.entry_ids)
            advance(len(sent.entry_ids), lines)
            answered.read()

        started = time.monotonic()
        try:
            with progress_bar("Sending") as advance:
                sent = send_commands(redis, settings.command_stream, read_lines(opened), wanted_layout, rate, heard)
            seconds = time.monotonic() - started
            report: dict[str, Any] = {"sent": lines, "seconds": round(seconds, 3)}
            if wait:
                with progress_bar("Waiting") as advance:
                    report |= _outcome(redis, settings, sent, answered, timeout, advance)
        except KeyboardInterrupt:
            say(_stopped(written, lines), err=True)
            sys.exit(INTERRUPTED)
    if as_json:
        print_json(report)
    else:
        for sentence in _sentences(report, settings):
            say(sentence)
    sys.exit(0 if not wait or report["acknowledged"] == lines else NOT_FINISHED)


def _check(file: BinaryIO, name: str, layout: Layout, raw: bool) -> int:
    """The number of lines; ends the command if one of them is wrong."""
    checked = check_lines(file, layout)
    if not checked.lines:
        _refuse(f"{name} holds no line, so there is nothing to send.")
    if checked.faults and not raw:
        more = checked.fault_count - len(checked.faults)
        _refuse(
            f"{name} was not sent; expected one JSON object a line (--raw sends lines as they stand).",
            *checked.faults,
            *([f"{more:,} more lines are wrong."] if more else []),
        )
    return checked.lines


def _stopped(written: int, lines: int) -> str:
    if written == lines:
        return f"The waiting ends here: all {lines:,} entries are in the stream, and workers go on with them."
    return (
        f"Stopped: {written:,} of {lines:,} entries are in the stream, and perhaps some of the next ones; "
        "sending all again does no harm."
    )


def _refuse(*sentences: str) -> None:
    for sentence in sentences:
        say(sentence, err=True)
    sys.exit(WRONG_USAGE)


def _outcome(
    redis: Redis, settings: Settings, sent: Sent, answered: AnswerCount, timeout: float, advance: Advance
) -> dict[str, Any]:
    """Wait, and say what became of the entries."""
    total = len(sent.entry_ids)
    started = last_progress = time.monotonic()
    acknowledged = 0
    while True:
        now_acknowledged = count_acknowledged(redis, settings, sent.entry_ids)
        answered.read()
        if now_acknowledged > acknowledged:
            acknowledged, last_progress = now_acknowledged, time.monotonic()
            advance(acknowledged, total)
        if acknowledged == total or time.monotonic() - last_progress > timeout:
            break
        time.sleep(LOOK_INTERVAL)
    waited = time.monotonic() - started
    # An answer is written before its question is acknowledged, so the last ones have come by now.
    answered.read()
    return {
        "acknowledged": acknowledged,
        "waited_seconds": round(waited, 3),
        "questions": len(sent.questions),
        "answered": answered.count(sent),
        **_failures(settings, sent),
    }


def _failures(settings: Settings, sent: Sent) -> dict[str, Any]:
    """Failed and retrying entries by code; None where the database cannot be asked."""
    engine = create_engine(settings.database)
    try:
        counts: list[FailedCount] = count_failed(engine, settings.scope, sent.entry_ids)
    except DatabaseUnavailableError as error:
        return {"failed": None, "retrying": None, "failed_unknown": str(error)}
    finally:
        engine.dispose()
    by_state: dict[str, dict[str, int]] = defaultdict(dict)
    for state, code, entries in counts:
        by_state[state][code] = entries
    return {"failed": by_state["failed"], "retrying": by_state["retrying"]}


def _sentences(report: dict[str, Any], settings: Settings) -> Iterator[str]:
    sent, seconds = report["sent"], report["seconds"]
    speed = f", {sent / seconds:,.0f} a second" if seconds else ""
    yield f"Sent {sent:,} {'entry' if sent == 1 else 'entries'} to {settings.command_stream} in {seconds:.1f} s{speed}."
    if "acknowledged" not in report:
        return
    acknowledged, waited = report["acknowledged"], report["waited_seconds"]
    if acknowledged == sent:
        yield f"All of them were acknowledged {waited:.1f} s later."
    else:
        group = settings.consumer_group
        yield f"Only {acknowledged:,} of them were acknowledged by the group {group} within {waited:.1f} s:"
        yield "is a worker running (celery -A dbstorage worker), and what does its log say?"
    if report["questions"]:
        yield f"Answered: {report['answered']:,} of {report['questions']:,} questions."
    if report["answered"] < report["questions"]:
        yield f"A question older than {settings.query_ttl:g} s (QUERY_TTL) is not answered any more."
    if report["failed"] is None:
        yield f"Whether any failed is unknown. {report['failed_unknown']}"
        return
    yield f"Failed: {_by_code(report['failed'])}{' (see dbstorage failed list)' if report['failed'] else ''}."
    if report["retrying"]:
        yield f"Waiting for another attempt: {_by_code(report['retrying'])}."


def _by_code(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {code}" for code, count in counts.items()) or "none"
