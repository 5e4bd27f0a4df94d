from dataclasses import asdict
from pathlib import Path

import orjson

from bench.report.document import Report
from bench.report.markdown import as_markdown
from bench.report.picture import as_svg


def write_report(report: Report, directory: Path) -> list[Path]:
    """Write Markdown, JSON and a picture for each chart, in the place of those of an earlier run."""
    directory.mkdir(parents=True, exist_ok=True)
    contents = {f"{report.name}.md": as_markdown(report).encode()}
    contents[f"{report.name}.json"] = orjson.dumps(
        {"benchmark": report.name, "machine": asdict(report.machine), **report.data},
        option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
    )
    contents |= {f"{chart.name}.svg": as_svg(chart).encode() for chart in report.charts}
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    return [directory / name for name in contents]
