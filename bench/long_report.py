"""The results of `long` as tables and a chart."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict

from bench.contenders.catalog import CONTENDERS, FLOWER, SERVICE, SERVICE_DEFAULT
from bench.flower import flower_sentence
from bench.long_run import LongRun
from bench.report.document import Bar, Chart, Report, Table
from bench.report.machine import Machine

MEGABYTE = 2**20
#: docs/performance.md, The budget: all worker processes together.
MOST_MEMORY = 250
RATE = "orders a second"
CPU_TITLES = {
    SERVICE: "CPU seconds of its own processes",
    "postgresql": "CPU seconds of PostgreSQL",
    "redis": "CPU seconds of Redis",
    FLOWER: "CPU seconds of Flower",
}


def long_report(entries: int, runs: Sequence[LongRun], machine: Machine) -> Report:
    """The report of several runs over a stream, of the service and of others in turn."""
    own = [run for run in runs if run.contender == SERVICE_DEFAULT.name]
    rates = [_median([run.parts[tenth].rate for run in own]) for tenth in range(len(own[0].parts))]
    bars = [Bar(f"tenth {number}", rate, f"{rate:,.0f}", ours=True) for number, rate in enumerate(rates, 1)]
    return Report(
        name="long",
        title=f"{entries:,} entries in one go",
        machine=machine,
        tables=[_tenths(own, rates), _end_against_start(runs)],
        charts=[Chart("long", f"Orders a second over {entries:,} entries, by tenth", bars)],
        notes=[flower_sentence(f"a worker that stores {entries:,} orders", [run.flower for run in own])],
        data={"entries": entries, "runs": [{**asdict(run), "end_against_start": growth(run)} for run in runs]},
    )


def growth(run: LongRun) -> dict[str, float]:
    """The last tenth as a share of the first, both taken from the straight line through all tenths: 1 without growth.

    A single tenth takes only seconds, and a machine's speed changes meanwhile. A figure whose line begins at 0 is left
    out.
    """
    figures = {RATE: [part.rate for part in run.parts]}
    for group, title in CPU_TITLES.items():
        if all(group in part.cpu_seconds for part in run.parts):
            figures[title] = [part.cpu_seconds[group] for part in run.parts]
    lines = {title: statistics.linear_regression(range(len(values)), values) for title, values in figures.items()}
    last = len(run.parts) - 1
    return {
        title: round((line.intercept + line.slope * last) / line.intercept, 3)
        for title, line in lines.items()
        if line.intercept > 0
    }


def _tenths(runs: Sequence[LongRun], rates: Sequence[float]) -> Table:
    memory = [max(run.parts[tenth].memory for run in runs) / MEGABYTE for tenth in range(len(rates))]
    return Table(
        f"{CONTENDERS[SERVICE_DEFAULT.name].title}: by tenth",
        ("tenth", RATE, "MB of all worker processes"),
        [
            (str(number), f"{rate:,.0f}", f"{megabytes:.0f}")
            for number, (rate, megabytes) in enumerate(zip(rates, memory, strict=True), 1)
        ],
        f"Runs: {len(runs)}; the median rate, and the most memory: PSS where the system tells it, else RSS "
        f"(budget: {MOST_MEMORY} MB, and flat).",
    )


def _end_against_start(runs: Sequence[LongRun]) -> Table:
    found = {
        name: [growth(run) for run in runs if run.contender == name] for name in sorted({r.contender for r in runs})
    }
    titles = dict.fromkeys(title for each in found.values() for own in each for title in own)
    return Table(
        "The end against the start",
        ("", *(CONTENDERS[name].title for name in found)),
        [
            (title, *(_spread([own[title] for own in each if title in own]) for each in found.values()))
            for title in titles
        ],
        "The last tenth by the first, both on the straight line nearest to all ten; the median of all runs, and from "
        "the lowest to the highest. Budget: no slower at the end, so at least 1 for orders a second.",
    )


def _spread(values: Sequence[float]) -> str:
    return f"{_median(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else "-"


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 2)
