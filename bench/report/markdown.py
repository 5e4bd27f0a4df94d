from collections.abc import Iterator

from bench.report.document import Report, Table


def as_markdown(report: Report) -> str:
    """The report as Markdown, with its charts as pictures beside it."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# {report.title}"
    for line in report.machine.sentence().splitlines():
        yield from ("", line)
    for chart in report.charts:
        yield from ("", f"![{chart.title}]({chart.name}.svg)")
    for table in report.tables:
        yield from ("", f"## {table.title}", "")
        yield from _rows(table)
        if table.note:
            yield from ("", table.note)
    if report.notes:
        yield ""
        yield from (f"- {note}" for note in report.notes)


def _rows(table: Table) -> Iterator[str]:
    yield f"| {' | '.join(table.columns)} |"
    yield f"| --- |{' ---: |' * (len(table.columns) - 1)}"
    for row in table.rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"
