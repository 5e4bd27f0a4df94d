"""A progress bar for what takes a while; nothing where standard error is no terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from dbstorage.cli.output import console

#: Called with how much is done, and the total; None where the total is not known.
Advance = Callable[[int, int | None], None]


class Speed(ProgressColumn):
    """Entries a second, as soon as it can be told."""

    def render(self, task: Task) -> Text:
        """The column's text."""
        return Text("" if task.speed is None else f"{task.speed:,.0f} a second")


@contextmanager
def progress_bar(what: str) -> Iterator[Advance]:
    """Show the progress of something; the bar is removed at the end."""
    terminal = console(err=True)
    if not terminal.is_terminal:
        yield lambda done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Speed(), TimeElapsedColumn())
    with Progress(*columns, console=terminal, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
