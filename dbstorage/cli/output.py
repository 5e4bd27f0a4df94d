"""Everything that the command prints goes through here, so that no text of others reaches a terminal unescaped.

An orderId may hold a control sequence that clears the screen, or a line end with a made-up line behind it.
"""

import csv
import io
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

import click

from dbstorage.printable import printable

if TYPE_CHECKING:
    # Rich takes a tenth of a second, and most commands need none of it.
    from rich.console import Console
    from rich.text import Text


#: The fewest characters that a cut column keeps, and those between two columns.
SHORTEST_CUT, GAP = 16, 2


def say(*lines: str, err: bool = False) -> None:
    r"""Print lines for a person; what would begin another one, or move the cursor, is written as `\n`, `\x1b`."""
    for line in lines:
        click.echo(printable(line), err=err)


def say_error(error: Exception) -> None:
    """Print an error of ours, which may be of several lines."""
    say(*str(error).split("\n"), err=True)


def print_json(value: Any, indent: int | None = None) -> None:
    """Print a value as JSON, in ASCII."""
    write(to_json(value, indent) + "\n")


def to_json(value: Any, indent: int | None = None) -> str:
    """A value as JSON, in ASCII without control characters."""
    return json.dumps(value, indent=indent).replace("\x7f", "\\u007f")


def json_moment(value: datetime) -> str:
    """A moment as JSON has it: ISO 8601 in UTC, with milliseconds."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def csv_line(values: Sequence[Any]) -> str:
    """Values as a line of CSV; what is no text stands as JSON, None is empty."""
    line = io.StringIO()
    cells = ["" if value is None else value if isinstance(value, str) else to_json(value) for value in values]
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def write(text: str) -> None:
    """Print text that a program reads, as it is."""
    click.echo(text, nl=False)


def console(*, err: bool = False) -> "Console":
    """The console of rich; wrap text of others in `text`."""
    from rich.console import Console

    return Console(stderr=err)


def text(content: object, style: str = "") -> "Text":
    """Text that rich prints as it is: no markup in it counts, and invisible characters are escaped."""
    from rich.text import Text

    return Text(printable(str(content)), style=style)


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
    cut: str | None = None,
    spare: Sequence[str] = (),
) -> None:
    """Print the rows below the columns' names; None is an empty cell.

    By rich on a terminal; elsewhere lines with tabs, which cut, sort and awk understand. Columns named in `right` are
    numbers; those in `whole` keep to one line while others are folded. Where a column is to be `cut`, all keep to one
    line and the others stay whole. On a narrow terminal those in `spare` are left out, one after another.
    """
    from rich.cells import cell_len
    from rich.table import Table

    terminal = console()
    cells = [["" if value is None else printable(str(value)) for value in row] for row in rows]
    if not terminal.is_terminal:
        write("".join("\t".join(row) + "\n" for row in [list(columns), *cells]))
        return
    shown = list(columns)
    widths = {name: max(map(cell_len, column)) for name, *column in zip(columns, columns, *cells, strict=True)}
    natural, longest = dict(widths), 0
    if cut is not None:
        longest, widths[cut] = widths[cut], SHORTEST_CUT
    for name in spare:
        if _line(widths, shown) > terminal.width:
            shown.remove(name)
    if cut is None:
        # None of them may take the whole line: an id of 255 characters is folded all the same.
        widths = {name: min(widths[name], terminal.width // 2) for name in whole}
    else:
        terminal.width = max(terminal.width, _line(widths, shown))
        widths[cut] = min(longest, SHORTEST_CUT + terminal.width - _line(widths, shown))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in shown:
        justify: Literal["right", "left"] = "right" if column in right else "left"
        overflow: Literal["ellipsis", "fold"] = "ellipsis" if column == cut else "fold"
        one_line = cut is not None or widths.get(column, 0) >= natural[column]
        table.add_column(column, justify=justify, overflow=overflow, no_wrap=one_line, width=widths.get(column))
    for row in cells:
        # As text: rich reads brackets in a string as markup.
        table.add_row(*(text(cell) for name, cell in zip(columns, row, strict=True) if name in shown))
    terminal.print(table)


def _line(widths: dict[str, int], shown: Sequence[str]) -> int:
    """The width of a line of these columns."""
    return sum(widths[name] + GAP for name in shown) - GAP


class _Drawing(io.StringIO):
    """What is drawn for a terminal, before it is printed."""

    def isatty(self) -> bool:
        """Colours and widths are those of a terminal."""
        return True


def redraw(draw: Callable[[], None]) -> None:
    """Print on a cleared terminal, and no more lines than it has, so that the beginning stays in sight."""
    from rich.cells import cell_len

    columns, lines = shutil.get_terminal_size()
    printed = _Drawing()
    terminal = sys.stdout
    sys.stdout = printed
    try:
        draw()
    finally:
        sys.stdout = terminal
    shown = printed.getvalue().splitlines()
    # A long line takes several of the terminal's.
    heights = [max(1, -(-cell_len(click.unstyle(line)) // max(1, columns))) for line in shown]
    if sum(heights) >= lines:
        kept = max(1, sum(height <= lines - 2 for height in accumulate(heights)))
        shown = [*shown[:kept], f"… {len(shown) - kept} more lines"]
    click.clear()
    write("\n".join(shown) + "\n")


def print_any_character() -> None:
    r"""Have what the terminal's encoding lacks printed as `\u20ac`, rather than end the command with an error."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
