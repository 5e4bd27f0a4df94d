"""The command line: `python -m bench ingest|quick|latency|growth`."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console

from bench.contenders.catalog import BARE_LOOP, CONTENDERS, SERVICE_FAILURES
from bench.ingest import run_rounds
from bench.ingest_report import ingest_report
from bench.report.document import Report
from bench.report.files import write_report
from bench.report.machine import this_machine
from bench.report.terminal import print_report
from bench.servers import Servers, running_servers
from bench.traffic import closed_orders

RESULTS = Path(__file__).parent / "results"

positive = click.IntRange(min=1)
output_option = click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=RESULTS,
    help="Where the results are written. [default: bench/results]",
)
entries_option = click.option(
    "--entries", type=positive, default=50_000, show_default=True, help="Orders in the stream."
)
rounds_option = click.option("--rounds", type=positive, default=3, show_default=True, help="Runs of each contender.")


@click.group()
def main() -> None:
    """Measure DBStorage on servers of its own, and compare it with other ways to do the same."""
    # So that what was started is stopped, whoever ends us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Ended by SIGTERM."))


@main.command()
@entries_option
@rounds_option
@click.option("--only", multiple=True, type=click.Choice(list(CONTENDERS)), help="Leave out the others (repeatable).")
@output_option
def ingest(entries: int, rounds: int, only: tuple[str, ...], output: Path) -> None:
    """Store closed orders: all contenders, in turn."""
    contenders = [contender for contender in CONTENDERS.values() if not only or contender.name in only]
    traffic = closed_orders(entries, min(entries, 500))
    with _measuring(output) as (servers, report_of):
        machine = this_machine(servers)
        result = run_rounds(servers, contenders, traffic, rounds, click.echo)
        report_of(ingest_report(result.runs, machine, result.missing))
    _fail_for(result.missing)


@main.command()
@click.option("--entries", type=positive, default=20_000, show_default=True, help="Orders in the stream.")
@click.option("--rounds", type=positive, default=2, show_default=True, help="Runs of each contender.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Write the results there too.")
def quick(entries: int, rounds: int, output: Path | None) -> None:
    """Compare the service with the bare loop in under a minute; fails for wrong rows, never for a figure."""
    traffic = closed_orders(entries, min(entries, 500))
    with _measuring(output) as (servers, report_of):
        machine = this_machine(servers)
        result = run_rounds(servers, [SERVICE_FAILURES, BARE_LOOP], traffic, rounds, click.echo)
        report = ingest_report(result.runs, machine, result.missing, name="quick")
        report_of(report)
    for ratio, value in report.data["ratios"].items():
        click.echo(f"\n{ratio}: {value:.2f}")
    _fail_for(result.missing)


@contextmanager
def _measuring(output: Path | None) -> Iterator[tuple[Servers, Callable[[Report], None]]]:
    def report_of(report: Report) -> None:
        print_report(report, Console() if sys.stdout.isatty() else Console(width=110))
        if output is not None:
            click.echo("\nWritten: " + ", ".join(str(path) for path in write_report(report, output)))

    with running_servers() as servers:
        yield servers, report_of


def _fail_for(missing: dict[str, str]) -> None:
    ours = [name for name in missing if CONTENDERS[name] is BARE_LOOP or name.startswith("service-")]
    if ours:
        sys.exit(f"No result: {', '.join(ours)}.")


if __name__ == "__main__":
    main(prog_name="python -m bench")
