"""What a benchmark has to say, before it is written anywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.report.machine import Machine


@dataclass(frozen=True)
class Table:
    """Rows of text; the first column is a name, the others are figures."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """One bar of a chart; `label` is written at its end."""

    name: str
    value: float
    label: str
    ours: bool = False


@dataclass(frozen=True)
class Chart:
    """Horizontal bars on one scale that begins at zero; `name` becomes the file's."""

    name: str
    title: str
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Report:
    """One benchmark's result; `data` is what a program reads."""

    name: str
    title: str
    machine: Machine
    tables: Sequence[Table]
    charts: Sequence[Chart] = ()
    notes: Sequence[str] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
