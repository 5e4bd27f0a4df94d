"""Tables: by rich on a terminal; elsewhere lines with tabs, which cut, sort and awk understand."""

from collections.abc import Sequence
from typing import Literal

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> None:
    """Print the rows below the columns' names; None is an empty cell.

    Columns named in `right` are numbers; those in `whole` keep to one line while others are folded.
    """
    console = Console()
    cells = [["" if value is None else str(value) for value in row] for row in rows]
    if not console.is_terminal:
        for row in [list(columns), *cells]:
            click.echo("\t".join(row))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        justify: Literal["right", "left"] = "right" if column in right else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=column in whole)
    for row in cells:
        # As Text: rich reads brackets in a string as markup.
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
