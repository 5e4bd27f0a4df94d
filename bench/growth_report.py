"""The results of `growth` as tables and charts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from bench.growth import Step
from bench.report.document import Bar, Chart, Report, Table
from bench.report.machine import Machine

TITLES = {
    "rows": "Orders a second by rows in the table beforehand",
    "rows-bare-loop": "The same with the bare loop",
    "workers": "Orders a second by workers (ORDERING=parallel)",
    "processes": "Orders a second by pool processes of one worker (-c, ORDERING=parallel)",
    "batch-size": "Orders a second by BATCH_SIZE",
}


def growth_report(steps: Mapping[str, Sequence[Step]], machine: Machine) -> Report:
    """The report of the steps by the keys of TITLES."""
    return Report(
        name="growth",
        title="Growth",
        machine=machine,
        tables=[
            Table(TITLES[key], ("", "orders/s"), [(f"{step.size:,}", f"{step.rate:,.0f}") for step in own])
            for key, own in steps.items()
        ],
        charts=[
            Chart(
                f"growth-{key}",
                TITLES[key],
                [Bar(f"{step.size:,}", step.rate, f"{step.rate:,.0f}", ours=True) for step in own],
            )
            for key, own in steps.items()
        ],
        data={"steps": {key: [asdict(step) for step in own] for key, own in steps.items()}},
    )
