"""The comparison of all contenders as tables and a chart."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import NamedTuple

from bench.contenders.catalog import (
    BARE_ARRAYS,
    BARE_LOOP,
    CONTENDERS,
    FASTSTREAM,
    PLAIN_CELERY,
    SERVICE,
    SERVICE_DEFAULT,
    SERVICE_FAILURES,
    SERVICE_PARALLEL,
    STREAQ,
)
from bench.flower import flower_sentence
from bench.ingest import IngestRun
from bench.report.document import Bar, Chart, Report, Table
from bench.report.machine import Machine

MEGABYTE = 2**20
PER_ORDERS = 100_000


class Target(NamedTuple):
    """What a contender's median has to reach: at least `factor` times another's."""

    contender: str
    factor: float
    other: str


#: docs/performance.md, The budget.
TARGETS = (
    Target(SERVICE_FAILURES.name, 1.0, BARE_LOOP.name),
    Target(SERVICE_DEFAULT.name, 1.0, BARE_LOOP.name),
    Target(SERVICE_FAILURES.name, 40.0, PLAIN_CELERY.name),
    *(Target(SERVICE_PARALLEL.name, 1.0, other) for other in (BARE_ARRAYS.name, STREAQ, FASTSTREAM)),
)
#: Limits: CPU seconds of the service's own processes for PER_ORDERS orders; and PostgreSQL's CPU time, as a multiple of
#: what the bare loop with the same statement costs it.
MOST_CPU_SECONDS = 1.8
MOST_POSTGRES_CPU = 1.0


def ingest_report(
    runs: Sequence[IngestRun], machine: Machine, missing: Mapping[str, str], *, name: str = "ingest"
) -> Report:
    """The report of all runs; `missing` names contenders without a result, each with the reason."""
    of = {contender: [run for run in runs if run.contender == contender] for contender in CONTENDERS}
    of = {contender: own for contender, own in of.items() if own}
    rates = {contender: statistics.median(run.rate for run in own) for contender, own in of.items()}
    count = runs[0].entries if runs else 0
    times = max((len(own) for own in of.values()), default=0)
    return Report(
        name=name,
        title=f"Ingest: {count:,} closed orders from the stream into PostgreSQL",
        machine=machine,
        tables=[_rates(of, rates, times), _costs(of), *_budget(of, rates)],
        charts=[
            Chart(
                name,
                "Closed orders stored per second (median, more is better)",
                [
                    Bar(CONTENDERS[key].title, rate, f"{rate:,.0f}", key.startswith(SERVICE))
                    for key, rate in rates.items()
                ],
            )
        ],
        notes=[
            *_flower_notes(of),
            *(f"{CONTENDERS[key].title}: no result. {reason}" for key, reason in missing.items()),
        ],
        data={
            "entries": count,
            "rounds": times,
            "orders_per_second": {key: round(rate, 1) for key, rate in rates.items()},
            "ratios": {
                f"{target.contender} / {target.other}": round(rates[target.contender] / rates[target.other], 3)
                for target in TARGETS
                if {target.contender, target.other} <= rates.keys()
            },
            "missing": dict(missing),
            "runs": [
                {**asdict(run), "usage": {group: used._asdict() for group, used in run.usage.items()}} for run in runs
            ],
        },
    )


def _rates(of: Mapping[str, Sequence[IngestRun]], rates: Mapping[str, float], times: int) -> Table:
    def ratio(contender: str, other: str) -> str:
        return f"{rates[contender] / rates[other]:.2f}" if other in rates else "-"

    rows = []
    for contender, own in of.items():
        each = sorted(run.rate for run in own)
        rows.append(
            (
                CONTENDERS[contender].title,
                f"{rates[contender]:,.0f}",
                f"{each[0]:,.0f} to {each[-1]:,.0f}",
                ratio(contender, BARE_LOOP.name),
                ratio(contender, PLAIN_CELERY.name),
            )
        )
    return Table(
        "Orders a second",
        ("", "median", "spread", "× bare loop", "× plain Celery"),
        rows,
        f"Runs of each, in turn: {times}; from the first read to the last acknowledgement; every row was compared.",
    )


def _costs(of: Mapping[str, Sequence[IngestRun]]) -> Table:
    groups = (SERVICE, "postgresql", "redis")
    rows = []
    for contender, own in of.items():
        seconds = [_cpu_seconds(own, group) for group in groups]
        memory = [max(run.usage[group].peak_memory for run in own) / MEGABYTE for group in groups]
        rows.append(
            (CONTENDERS[contender].title, *(f"{value:.2f}" for value in seconds), *(f"{value:.0f}" for value in memory))
        )
    return Table(
        f"CPU seconds for {PER_ORDERS:,} orders, and peak memory in MB",
        ("", "service", "PostgreSQL", "Redis", "MB service", "MB PostgreSQL", "MB Redis"),
        rows,
        "Service: all processes of the contender, Flower apart. Memory: PSS where the system tells it, else RSS.",
    )


def _cpu_seconds(runs: Sequence[IngestRun], group: str) -> float:
    """The CPU seconds that a group of processes needs for PER_ORDERS orders."""
    return statistics.median(run.usage[group].cpu_seconds / run.entries * PER_ORDERS for run in runs)


def _budget(of: Mapping[str, Sequence[IngestRun]], rates: Mapping[str, float]) -> list[Table]:
    rows = []
    for target in TARGETS:
        if {target.contender, target.other} <= rates.keys():
            reached = rates[target.contender] / rates[target.other]
            what = f"{CONTENDERS[target.contender].title}, × {CONTENDERS[target.other].title}"
            rows.append((what, f"at least {target.factor:g}", f"{reached:.2f}", _met(reached >= target.factor)))
    if SERVICE_FAILURES.name in of:
        seconds = _cpu_seconds(of[SERVICE_FAILURES.name], SERVICE)
        what = f"CPU seconds of the service's own processes for {PER_ORDERS:,} orders"
        rows.append((what, f"at most {MOST_CPU_SECONDS:g}", f"{seconds:.2f}", _met(seconds <= MOST_CPU_SECONDS)))
        if BARE_ARRAYS.name in of:
            ratio = _cpu_seconds(of[SERVICE_FAILURES.name], "postgresql") / _cpu_seconds(
                of[BARE_ARRAYS.name], "postgresql"
            )
            what = "PostgreSQL's CPU, × the same statement alone"
            rows.append((what, f"at most {MOST_POSTGRES_CPU:g}", f"{ratio:.2f}", _met(ratio <= MOST_POSTGRES_CPU)))
    return [Table("Budget", ("", "budget", "measured", "met"), rows)] if rows else []


def _met(met: bool) -> str:
    return "yes" if met else "no"


def _flower_notes(of: Mapping[str, Sequence[IngestRun]]) -> list[str]:
    watched = {contender: [run.notes for run in own if run.notes] for contender, own in of.items()}
    return [flower_sentence(CONTENDERS[contender].title, notes) for contender, notes in watched.items() if notes]
