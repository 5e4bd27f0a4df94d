"""Latencies as tables and histograms."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import NamedTuple

from bench.distribution import Distribution, bucket_names
from bench.latency import LatencyRun
from bench.report.document import Bar, Chart, Report, Table
from bench.report.machine import Machine


class Limit(NamedTuple):
    """What a percentile of the questions' latency may be, in milliseconds, while so many orders arrive a second."""

    orders_per_second: int
    percentile: str
    milliseconds: float


#: docs/performance.md, The budget.
LIMITS = (Limit(0, "p99", 20), Limit(5_000, "p99", 100))
#: How much longer than with the barest loop a lone question may take (p50).
MOST_TIMES_BAREST = 1.4


def latency_report(runs: Sequence[LatencyRun], rows: int, machine: Machine) -> Report:
    """The report of all scenarios."""
    questions = [(_load(run), *_figures(run.questions), str(run.unanswered)) for run in runs]
    orders = [(_load(run), *_figures(run.orders)) for run in runs if run.orders is not None]
    columns = ("", "measured", "p50 ms", "p95 ms", "p99 ms", "longest ms")
    return Report(
        name="latency",
        title=f"Latency with {rows:,} orders in the table",
        machine=machine,
        tables=[
            Table(
                "From the question to its answer",
                (*columns, "unanswered"),
                questions,
                "100 of a user's orders; from the moment a question was due until a client had the answer.",
            ),
            *([Table("From the order to its committed row", columns, orders)] if orders else []),
            *_limits(runs),
        ],
        charts=[
            chart
            for run in runs
            if not run.barest
            for chart in (
                _histogram(run, "questions", run.questions),
                *([_histogram(run, "orders", run.orders)] if run.orders is not None else []),
            )
        ],
        data={"rows": rows, "buckets": bucket_names(), "runs": [_data(run) for run in runs]},
    )


def _load(run: LatencyRun) -> str:
    rate = run.scenario.orders_per_second
    if run.barest:
        return "idle, barest loop"
    return f"{rate:,} orders/s arrive" if rate else "idle"


def _figures(measured: Distribution) -> tuple[str, ...]:
    return (
        f"{measured.measured:,}",
        *(f"{value:.1f}" for value in (measured.p50, measured.p95, measured.p99, measured.longest)),
    )


def _limits(runs: Sequence[LatencyRun]) -> list[Table]:
    rows = []
    for limit in LIMITS:
        for run in runs:
            if run.scenario.orders_per_second == limit.orders_per_second and not run.barest:
                measured: float = getattr(run.questions, limit.percentile)
                met = measured <= limit.milliseconds and not run.unanswered
                rows.append(
                    (
                        f"{limit.percentile} of questions, {_load(run)}",
                        f"{limit.milliseconds:g} ms",
                        f"{measured:.1f} ms",
                        "yes" if met else "no",
                    )
                )
    idle = {run.barest: run.questions.p50 for run in runs if not run.scenario.orders_per_second}
    if len(idle) == 2:
        ratio = idle[False] / idle[True]
        verdict = "yes" if ratio <= MOST_TIMES_BAREST else "no"
        rows.append(("p50 of a lone question, × the barest loop", f"{MOST_TIMES_BAREST:g}", f"{ratio:.2f}", verdict))
    return [Table("Budget", ("", "at most", "measured", "met"), rows)] if rows else []


def _histogram(run: LatencyRun, what: str, measured: Distribution) -> Chart:
    last = max((index for index, count in enumerate(measured.histogram) if count), default=0)
    return Chart(
        f"latency-{what}-{run.scenario.orders_per_second}",
        f"Latency of {what}, {_load(run)}",
        [
            Bar(name, count, f"{count / max(1, measured.measured):.1%}", ours=True)
            for name, count in list(zip(bucket_names(), measured.histogram, strict=True))[: last + 1]
        ],
    )


def _data(run: LatencyRun) -> dict[str, object]:
    return {
        "scenario": asdict(run.scenario),
        "barest": run.barest,
        "questions": run.questions._asdict(),
        "unanswered": run.unanswered,
        "orders": run.orders._asdict() if run.orders is not None else None,
    }
