"""Bar charts as SVG, written by hand: readable on light and dark pages, without a library."""

from html import escape

from bench.report.document import Chart

WIDTH = 800
NAMES = 330
#: Room for the label behind the longest bar.
LABELS = 100
BAR = 20
GAP = 10
TOP = 48
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 15px }
  .bar { fill: #8c959f } .ours { fill: #0969da }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .bar { fill: #6e7681 } .ours { fill: #4493f8 } }
"""


def as_svg(chart: Chart) -> str:
    """The chart as an SVG document."""
    highest = max((bar.value for bar in chart.bars), default=0.0) or 1.0
    height = TOP + len(chart.bars) * (BAR + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img"><title>{escape(chart.title)}</title><style>{STYLE}</style>',
        f'<text class="title" x="0" y="20">{escape(chart.title)}</text>',
    ]
    for index, bar in enumerate(chart.bars):
        top = TOP + index * (BAR + GAP)
        width = round((WIDTH - NAMES - LABELS) * bar.value / highest, 1)
        baseline = top + BAR * 0.72
        parts += [
            f'<text x="{NAMES - 10}" y="{baseline:g}" text-anchor="end">{escape(bar.name)}</text>',
            f'<rect class="bar{" ours" if bar.ours else ""}" x="{NAMES}" y="{top}" width="{width:g}" height="{BAR}"/>',
            f'<text x="{NAMES + width + 8:g}" y="{baseline:g}">{escape(bar.label)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
