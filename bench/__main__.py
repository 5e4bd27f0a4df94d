"""The command line: `python -m bench ingest|quick|latency|long|growth|retries|moves|network|all`."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from bench.contenders.catalog import BARE_LOOP, CONTENDERS, SERVICE, SERVICE_DEFAULT, SERVICE_FAILURES, Contender
from bench.growth import run_batch_sizes, run_processes, run_rows, run_workers
from bench.growth_report import growth_report
from bench.ingest import run_rounds
from bench.ingest_report import ingest_report
from bench.latency import POSTGRES_SETTINGS as LATENCY_SETTINGS
from bench.latency import Scenario, measure_latency
from bench.latency_report import latency_report
from bench.long_report import long_report
from bench.long_run import PARTS, run_long
from bench.moves import measure_moves, moves_report
from bench.network import measure_network, network_report
from bench.processes import EndedError, TooSlowError
from bench.report.document import Report
from bench.report.files import write_report
from bench.report.machine import this_machine
from bench.report.terminal import print_report
from bench.retries import measure_retries, retries_report
from bench.servers import running_servers
from bench.traffic import USERS, closed_orders
from bench.verification import WrongRowsError

Command = TypeVar("Command", bound=Callable[..., Any])

RESULTS = Path(__file__).parent / "results"

positive = click.IntRange(min=1)
output_option = click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=RESULTS,
    help="Where the results are written. [default: bench/results]",
)


class Sizes(click.ParamType[list[int]]):
    """Whole numbers with commas between them; nothing leaves that part out."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """The numbers."""
        try:
            return value if isinstance(value, list) else [int(size) for size in value.split(",") if size.strip()]
        except ValueError:
            self.fail(f"{value!r}: expected whole numbers such as 0,1000000.", param, ctx)


def sizes_option(name: str, default: str, help: str) -> Callable[[Command], Command]:
    """An option that takes Sizes."""
    return click.option(name, type=Sizes(), default=default, show_default=True, help=help)


@click.group()
def main() -> None:
    """Measure DBStorage on servers of its own, and compare it with other ways to do the same."""
    # SIGTERM becomes an exception, so that everything that was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Ended by SIGTERM."))


@main.command()
@click.option("--entries", type=positive, default=50_000, show_default=True, help="Orders in the stream.")
@click.option("--rounds", type=positive, default=3, show_default=True, help="Runs of each contender.")
@click.option("--only", multiple=True, type=click.Choice(list(CONTENDERS)), help="Leave out the others (repeatable).")
@output_option
def ingest(entries: int, rounds: int, only: Sequence[str], output: Path) -> None:
    """Store closed orders: all contenders, in turn."""
    contenders = [contender for contender in CONTENDERS.values() if not only or contender.name in only]
    missing = _compare(contenders, entries, rounds, "ingest", output)
    _fail_for(missing)


@main.command()
@click.option("--entries", type=positive, default=20_000, show_default=True, help="Orders in the stream.")
@click.option("--rounds", type=positive, default=2, show_default=True, help="Runs of each contender.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Write the results there too.")
def quick(entries: int, rounds: int, output: Path | None) -> None:
    """Compare the service with the bare loop in under a minute; fails for wrong rows, never for a figure."""
    _fail_for(_compare([SERVICE_FAILURES, BARE_LOOP], entries, rounds, "quick", output))


def _compare(
    contenders: Sequence[Contender], entries: int, rounds: int, name: str, output: Path | None
) -> dict[str, str]:
    traffic = closed_orders(entries, min(entries, USERS))
    with running_servers() as servers:
        machine = this_machine(servers)
        result = run_rounds(servers, contenders, traffic, rounds, click.echo)
    report = ingest_report(result.runs, machine, result.missing, name=name)
    _publish(report, output)
    for ratio, value in report.data["ratios"].items():
        click.echo(f"{ratio}: {value:.2f}")
    return result.missing


@main.command()
@click.option("--rows", type=click.IntRange(min=0), default=1_000_000, show_default=True, help="Orders in the table.")
@click.option("--seconds", type=click.FloatRange(min=1), default=20.0, show_default=True, help="For each rate.")
@sizes_option("--rates", "0,1000,5000", "Orders a second that arrive.")
@click.option("--questions", type=positive, default=20, show_default=True, help="Questions a second.")
@output_option
def latency(rows: int, seconds: float, rates: Sequence[int], questions: int, output: Path) -> None:
    """Ask for histories, and watch orders being stored, while orders arrive at a steady rate."""
    scenarios = [Scenario(rate, questions, seconds) for rate in rates]
    with running_servers(LATENCY_SETTINGS) as servers, _one_sentence():
        machine = this_machine(servers)
        runs = measure_latency(servers, scenarios, rows, click.echo)
        _publish(latency_report(runs, rows, machine), output)


@main.command()
@click.option(
    "--entries", type=click.IntRange(min=PARTS), default=1_000_000, show_default=True, help="Orders in the stream."
)
@click.option("--rounds", type=positive, default=3, show_default=True, help="Runs of each contender.")
@output_option
def long(entries: int, rounds: int, output: Path) -> None:
    """Store a million orders in one go, and look at each tenth: the service with Flower, and the bare loop."""
    with running_servers() as servers, _one_sentence():
        machine = this_machine(servers)
        runs = [run_long(servers, each, entries, click.echo) for each in [SERVICE_DEFAULT, BARE_LOOP] * rounds]
        _publish(long_report(entries, runs, machine), output)


@main.command()
@sizes_option("--rows", "0,1000000,10000000", "Orders in the table beforehand.")
@sizes_option("--workers", "1,2,3", "Workers in parallel order.")
@sizes_option("--processes", "2,3,4", "Pool processes of one worker in parallel order.")
@sizes_option("--batches", "1,10,100,500,2000", "Entries in a batch.")
@click.option("--entries", type=positive, default=50_000, show_default=True, help="Orders in the stream.")
@click.option("--rounds", type=positive, default=3, show_default=True, help="Runs of each, of which the median counts.")
@output_option
def growth(
    rows: Sequence[int],
    workers: Sequence[int],
    processes: Sequence[int],
    batches: Sequence[int],
    entries: int,
    rounds: int,
    output: Path,
) -> None:
    """Store closed orders with more rows, more workers, more processes, other sizes of a batch."""
    # With a batch size of one each order is a commit of its own, so a twentieth of the orders is enough work.
    batch_entries = {size: entries if size >= 100 else max(1, entries // 20) for size in batches}
    with running_servers() as servers, _one_sentence():
        machine = this_machine(servers)
        steps = {
            "rows": run_rows(servers, SERVICE_FAILURES, rows, entries, rounds, click.echo),
            "rows-bare-loop": run_rows(servers, BARE_LOOP, rows, entries, rounds, click.echo),
            "workers": run_workers(servers, workers, entries, rounds, click.echo),
            "processes": run_processes(servers, processes, entries, rounds, click.echo),
            "batch-size": run_batch_sizes(servers, batch_entries, rounds, click.echo),
        }
        _publish(growth_report({key: own for key, own in steps.items() if own}, machine), output)


@main.command()
@click.option("--tasks", type=positive, default=100_000, show_default=True, help="Failed tasks.")
@click.option("--rounds", type=positive, default=3, show_default=True, help="Runs, of which the median counts.")
@output_option
def retries(tasks: int, rounds: int, output: Path) -> None:
    """Retry failed orders that can be stored now, all at once."""
    with running_servers() as servers, _one_sentence():
        machine = this_machine(servers)
        runs = [measure_retries(servers, tasks, click.echo) for _ in range(rounds)]
        _publish(retries_report(runs, machine), output)


@main.command()
@sizes_option("--orders", "10,100,12000", "Orders of each person who moves.")
@click.option("--entries", type=positive, default=2_000, show_default=True, help="Entries in the stream.")
@click.option("--people", type=positive, default=100, show_default=True, help="People who move in turn.")
@output_option
def moves(orders: Sequence[int], entries: int, people: int, output: Path) -> None:
    """Give people another userID, in turn with orders."""
    with running_servers() as servers, _one_sentence():
        machine = this_machine(servers)
        _publish(moves_report(measure_moves(servers, orders, entries, people, click.echo), people, machine), output)


@main.command()
@sizes_option("--delays", "0,1,5,20", "Milliseconds each way.")
@click.option("--entries", type=positive, default=20_000, show_default=True, help="Orders in the stream.")
@output_option
def network(delays: Sequence[int], entries: int, output: Path) -> None:
    """Store orders and answer questions over a slow link to both servers."""
    with running_servers() as servers, _one_sentence():
        machine = this_machine(servers)
        _publish(network_report(measure_network(servers, delays, entries, click.echo), entries, machine), output)


@main.command(name="all")
@click.option("--full", is_flag=True, help="Longer, with more batch sizes.")
@output_option
@click.pass_context
def everything(context: click.Context, full: bool, output: Path) -> None:
    """Run everything: in about half an hour, or in full."""
    more: dict[str, Any] = {
        "batches": [1, 2, 5, 10, 50, 100, 200, 500, 1_000, 2_000],
        "rounds": 3,
    }
    context.invoke(ingest, output=output)
    context.invoke(latency, output=output, **({"seconds": 60.0} if full else {}))
    context.invoke(long, output=output, **({} if full else {"rounds": 1}))
    context.invoke(retries, output=output, **({} if full else {"rounds": 1}))
    context.invoke(moves, output=output)
    context.invoke(network, output=output)
    context.invoke(growth, output=output, **(more if full else {"rounds": 1}))


def _publish(report: Report, output: Path | None) -> None:
    print_report(report, Console() if sys.stdout.isatty() else Console(width=110))
    if output is not None:
        click.echo("Written: " + ", ".join(str(path) for path in write_report(report, output)))
    click.echo()


@contextmanager
def _one_sentence() -> Iterator[None]:
    try:
        yield
    except (EndedError, TooSlowError, WrongRowsError) as error:
        sys.exit(f"No result: {error}")


def _fail_for(missing: dict[str, str]) -> None:
    ours = [name for name in missing if CONTENDERS[name] is BARE_LOOP or name.startswith(SERVICE)]
    if ours:
        sys.exit(f"No result: {', '.join(ours)}.")


if __name__ == "__main__":
    main(prog_name="python -m bench")
