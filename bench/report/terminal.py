from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from bench.report.document import Report, Table


def print_report(report: Report, console: Console) -> None:
    """Print the tables of a report."""
    console.print(Text(f"\n{report.title}", style="bold"))
    console.print(Text(report.machine.sentence(), style="dim"))
    for table in report.tables:
        console.print(Text(f"\n{table.title}", style="italic"))
        console.print(_rich(table))
        if table.note:
            console.print(Text(table.note))
    for note in report.notes:
        console.print(Text(note))


def _rich(table: Table) -> RichTable:
    rich = RichTable(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(table.columns):
        rich.add_column(column, justify="right" if index else "left")
    for row in table.rows:
        # As Text: rich reads brackets in a string as markup.
        rich.add_row(*(Text(cell) for cell in row))
    return rich
