"""What became of a long stream, as tables and a chart."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from bench.contenders.catalog import CONTENDERS, FLOWER, SERVICE, SERVICE_DEFAULT
from bench.flower import flower_sentence
from bench.long_run import LongRun
from bench.report.document import Bar, Chart, Table

MEGABYTE = 2**20
#: SPEC section 7: all worker processes together.
MOST_MEMORY = 250
CPU_GROUPS = {SERVICE: "its CPU time", "postgresql": "PostgreSQL's", "redis": "Redis's", FLOWER: "Flower's"}


def long_tables(entries: int, runs: Sequence[LongRun]) -> list[Table]:
    """The tenths of the service's runs, and the last tenth against the first for all contenders."""
    own = runs_of(runs, SERVICE_DEFAULT.name)
    return [_tenths(entries, own), _last_against_first(runs)] if own else []


def long_chart(entries: int, runs: Sequence[LongRun]) -> Chart:
    """The service's rate by tenth, at equal machine speed."""
    rates = _by_tenth(runs_of(runs, SERVICE_DEFAULT.name), LongRun.equal_rates)
    return Chart(
        "growth-entries",
        f"Orders a second over {entries:,} entries, by tenth, at equal machine speed",
        [Bar(f"tenth {number}", rate, f"{rate:,.0f}", ours=True) for number, rate in enumerate(rates, 1)],
    )


def long_notes(entries: int, runs: Sequence[LongRun]) -> list[str]:
    """What became of Flower."""
    findings = [run.flower for run in runs if run.flower]
    return [flower_sentence(f"a worker that stores {entries:,} orders", findings)] if findings else []


def long_data(runs: Sequence[LongRun]) -> list[dict[str, Any]]:
    """All runs, for a program, with the last tenth against the first."""
    return [{**asdict(run), "last_against_first": ratios(run)} for run in runs]


def runs_of(runs: Sequence[LongRun], contender: str) -> list[LongRun]:
    """The runs of one contender."""
    return [run for run in runs if run.contender == contender]


def ratios(run: LongRun) -> dict[str, float]:
    """The last tenth's figures divided by the first's; all but the first at equal machine speed."""
    figures = {"orders/s as measured": run.rates(), "orders/s at equal machine speed": run.equal_rates()}
    figures |= {
        title: run.equal_cpu_seconds(group)
        for group, title in CPU_GROUPS.items()
        if all(part.cpu_seconds.get(group) for part in run.parts)
    }
    return {title: round(values[-1] / values[0], 3) for title, values in figures.items()}


def _tenths(entries: int, runs: Sequence[LongRun]) -> Table:
    rates, equal = _by_tenth(runs, LongRun.rates), _by_tenth(runs, LongRun.equal_rates)
    memory = [max(run.parts[index].memory for run in runs) / MEGABYTE for index in range(len(rates))]
    return Table(
        f"{entries:,} entries, one worker with default settings, Flower beside it",
        ("tenth", "orders/s", "at equal machine speed", "MB of all worker processes"),
        [
            (str(number), f"{rate:,.0f}", f"{equal_rate:,.0f}", f"{megabytes:.0f}")
            for number, (rate, equal_rate, megabytes) in enumerate(zip(rates, equal, memory, strict=True), 1)
        ],
        f"Medians of {len(runs)} runs; memory at its highest: {max(memory):.0f} MB (budget: {MOST_MEMORY} MB, and "
        "flat), PSS where the system tells it, else RSS. Equal machine speed: corrected by what a fixed piece of work "
        "took meanwhile (docs/performance.md).",
    )


def _last_against_first(runs: Sequence[LongRun]) -> Table:
    columns = {name: [ratios(run) for run in runs_of(runs, name)] for name in dict.fromkeys(r.contender for r in runs)}
    titles = list(dict.fromkeys(title for column in columns.values() for each in column for title in each))
    return Table(
        "The last tenth against the first",
        ("", *(CONTENDERS[name].title for name in columns)),
        [
            (title, *(_spread([each[title] for each in column if title in each]) for column in columns.values()))
            for title in titles
        ],
        "Median of all runs, and from the lowest to the highest. Budget: no slower at the end, so at least 1 for "
        "orders/s. CPU time is that for a tenth of the orders, at equal machine speed.",
    )


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else "-"


def _by_tenth(runs: Sequence[LongRun], figures: Callable[[LongRun], Sequence[float]]) -> list[float]:
    return [statistics.median(each) for each in zip(*map(figures, runs), strict=True)]
