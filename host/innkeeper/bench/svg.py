"""The picture of a run: for each row that has an aim, our bar beside Extism's, which is 1. Text stays text."""

from __future__ import annotations

from html import escape
from typing import Any

from innkeeper.bench.measured import EXTISM, INNKEEPER

LABELS, BARS, FIGURES = 330, 300, 190
"""Widths of the three columns."""
ROW, HEAD, FOOT = 34, 54, 34
MOST = 1.5
"""Ratio at which a bar of ours is cut: what is slower than that is slow enough to see."""

_STYLE = """
    text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
    .small { font-size: 11px; fill: #59636e; }
    .title { font-size: 15px; font-weight: 600; }
    .ours { fill: #0969da; } .slower { fill: #bc4c00; } .theirs { fill: #d1d9e0; } .aim { stroke: #1f2328; }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc; } .small { fill: #9198a1; }
      .ours { fill: #4493f8; } .slower { fill: #db6d28; } .theirs { fill: #3d444d; } .aim { stroke: #f0f6fc; }
    }
"""


def draw(report: dict[str, Any]) -> str:
    """The picture (str, SVG).

    Args:
        report: as `innkeeper bench --json` writes it.
    """
    rows = [row for row in report["rows"] if "aim" in row and row["ratio_to_extism"] is not None]
    width, height = LABELS + BARS + FIGURES, HEAD + ROW * len(rows) + FOOT
    versions, machine = report["versions"], report["machine"]
    title = f"Time of Innkeeper {versions['innkeeper']} as a share of the Extism SDK's ({versions['extism']})"
    foot = f"Bars: ours above, Extism's below; the line is the aim. {machine['cores']} cores, {machine['cpu']}."
    body = "\n".join(_row(row, HEAD + ROW * at) for at, row in enumerate(rows))
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">
  <style>{_STYLE}  </style>
  <text class="title" x="12" y="24">{escape(title)}</text>
  <text class="small" x="12" y="42">Shorter is faster; medians of one run, the two taking turns.</text>
{body}
  <text class="small" x="12" y="{height - 12}">{escape(foot)}</text>
</svg>
"""


def _row(row: dict[str, Any], top: int) -> str:
    ratio, unit = row["ratio_to_extism"], BARS / MOST
    ours = max(2.0, min(ratio, MOST) * unit)
    kind = "ours" if ratio <= 1 else "slower"
    share = f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"
    aim = LABELS + row["aim"] * unit
    figures = f"{_duration(row[INNKEEPER], row['unit'])} : {_duration(row[EXTISM], row['unit'])}"
    return f"""  <g transform="translate(0 {top})">
    <text x="12" y="19">{escape(row["title"])}</text>
    <rect class="{kind}" x="{LABELS}" y="5" width="{ours:.1f}" height="11" rx="2"/>
    <rect class="theirs" x="{LABELS}" y="18" width="{unit:.1f}" height="7" rx="2"/>
    <line class="aim" x1="{aim:.1f}" y1="2" x2="{aim:.1f}" y2="28" stroke-width="1.5"/>
    <text x="{LABELS + BARS + 10}" y="19">{share} <tspan class="small" dx="6">{escape(figures)}</tspan></text>
  </g>"""


def _duration(value: float, unit: str) -> str:
    if unit == "us" and value >= 1000:
        value, unit = value / 1000, "ms"
    if unit == "ms" and value >= 1000:
        value, unit = value / 1000, "s"
    return f"{value:.3g} {'µs' if unit == 'us' else unit}"
