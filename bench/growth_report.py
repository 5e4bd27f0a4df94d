"""What grows, as tables and charts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from bench.flower import flower_sentence
from bench.growth import LongRun, Part, Step
from bench.report.document import Bar, Chart, Report, Table
from bench.report.machine import Machine

MEGABYTE = 2**20
#: SPEC section 7: all worker processes together.
MOST_MEMORY = 250

TITLES = {
    "rows": "Orders a second by rows in the table beforehand",
    "rows-bare-loop": "The same with the bare loop",
    "workers": "Orders a second by workers (ORDERING=parallel)",
    "batch-size": "Orders a second by BATCH_SIZE",
}


def growth_report(entries: int, long: LongRun | None, steps: Mapping[str, Sequence[Step]], machine: Machine) -> Report:
    """The report of a long stream, and of the steps by the keys of TITLES."""
    parts = long.parts if long else []
    tables = [_parts(entries, parts)] if parts else []
    tables += [
        Table(TITLES[key], ("", "orders/s"), [(f"{step.size:,}", f"{step.rate:,.0f}") for step in own])
        for key, own in steps.items()
    ]
    charts = []
    if parts:
        bars = [Bar(f"tenth {index}", part.rate, f"{part.rate:,.0f}", ours=True) for index, part in enumerate(parts, 1)]
        charts.append(Chart("growth-entries", f"Orders a second over {entries:,} entries, by tenth", bars))
    charts += [
        Chart(
            f"growth-{key}",
            TITLES[key],
            [Bar(f"{step.size:,}", step.rate, f"{step.rate:,.0f}", ours=True) for step in own],
        )
        for key, own in steps.items()
    ]
    return Report(
        name="growth",
        title="Growth",
        machine=machine,
        tables=tables,
        charts=charts,
        notes=[flower_sentence(f"a worker that stores {entries:,} orders", [long.flower])] if long else [],
        data={
            "entries": entries,
            "flower": long.flower if long else {},
            "parts": [asdict(part) for part in parts],
            "steps": {key: [asdict(step) for step in own] for key, own in steps.items()},
        },
    )


def _parts(entries: int, parts: Sequence[Part]) -> Table:
    highest = max(part.memory for part in parts) / MEGABYTE
    return Table(
        f"{entries:,} entries, one worker with default settings, Flower beside it",
        ("tenth", "orders/s", "MB of all worker processes"),
        [(str(index), f"{part.rate:,.0f}", f"{part.memory / MEGABYTE:.0f}") for index, part in enumerate(parts, 1)],
        f"Last tenth against the first: {parts[-1].rate / parts[0].rate:.2f} (budget: no slower, so at least 1). "
        f"Most memory: {highest:.0f} MB (budget: {MOST_MEMORY} MB, and flat). PSS where the system tells it, else RSS.",
    )
