"""A picture as SVG: no script, nothing from elsewhere, all text escaped, readable in the dark and in the light."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from innkeeper.workflow.drawing.arranging import Curve, Picture, Point, inside_of
from innkeeper.workflow.drawing.boxes import HEAD, ROW, Box, Row
from innkeeper.workflow.drawing.text import markup, safe, width_of

EDGE: Final = 24.0
"""Pixels around the picture."""

MOST_LISTED: Final = 20
"""Problems that are written below the picture; a node's own are all in its tooltip, within a bound."""

_BECAME = frozenset({"complete", "error", "skipped", "running", "interrupted"})
_LINE = 18.0
_COLUMNS = 150
_TOLD = 5
_PLAIN_FOOT = 26.0
_BACK = 30.0
"""How far an edge that leads back goes on before it turns: within `EDGE`, it stays in the picture."""

STYLE: Final = """
    .back { fill: #ffffff; }
    text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
    .title { font-weight: 600; } .small { font-size: 11px; fill: #59636e; } .end { text-anchor: end; }
    .middle { text-anchor: middle; }
    .node { fill: #f6f8fa; stroke: #8c959f; } .head { fill: #ddf4ff; }
    .engine .head { fill: #e6e2fb; } .frame > .node { fill: none; stroke: #8250df; stroke-dasharray: 8 4; }
    .frame > .head { fill: #efe9fc; }
    .bypassed { opacity: 0.62; } .bypassed > .node { stroke-dasharray: 3 3; } .bypassed > .head { fill: #eaeef2; }
    .unknown > .node { stroke: #bf8700; stroke-dasharray: 2 3; } .unknown > .head { fill: #fff3c4; }
    .wrong > .node { stroke: #cf222e; stroke-width: 2; } .badge { fill: #cf222e; } .badge-text { fill: #ffffff; }
    .problem { fill: #a40e26; }
    .became-complete > .head { fill: #c8efd0; } .became-error > .head { fill: #ffd0cd; }
    .became-running > .head, .became-interrupted > .head { fill: #ffe2b0; }
    .became-skipped > .head { fill: #eaeef2; } .became-skipped { opacity: 0.62; }
    .edge { fill: none; stroke: #57606a; stroke-width: 1.4; }
    .stream { stroke: #0a7ea4; stroke-width: 2.4; stroke-dasharray: 7 4; }
    .pin { fill: #57606a; stroke: none; } .pin-stream { fill: #0a7ea4; stroke: none; } .pin-odd { fill: #cf222e; }
    .free { fill: #f6f8fa; stroke: #8c959f; stroke-width: 1.2; }
    .bar { fill: #54aeff; } .bar-odd { fill: #cf222e; }
    @media (prefers-color-scheme: dark) {
      .back { fill: #0d1117; }
      text { fill: #f0f6fc; } .small { fill: #9198a1; }
      .node { fill: #161b22; stroke: #6e7681; } .head { fill: #12314f; }
      .engine .head { fill: #2f2650; } .frame > .node { stroke: #a371f7; } .frame > .head { fill: #2b2145; }
      .bypassed > .head { fill: #21262d; }
      .unknown > .node { stroke: #d29922; } .unknown > .head { fill: #3b2e06; }
      .wrong > .node { stroke: #f85149; } .badge { fill: #da3633; } .problem { fill: #ff8a84; }
      .became-complete > .head { fill: #12452a; } .became-error > .head { fill: #67141a; }
      .became-running > .head, .became-interrupted > .head { fill: #5a3d06; } .became-skipped > .head { fill: #21262d; }
      .edge { stroke: #9198a1; } .stream { stroke: #4cc2e8; } .pin { fill: #9198a1; } .pin-stream { fill: #4cc2e8; }
      .pin-odd { fill: #f85149; } .free { fill: #161b22; stroke: #6e7681; } .bar { fill: #1f6feb; }
      .bar-odd { fill: #da3633; }
    }
"""


def svg_of(picture: Picture, title: str, problems: Sequence[str]) -> str:
    """The picture (str, SVG).

    Args:
        picture: in its place.
        title: what it is of.
        problems: what is wrong, one sentence each; the first are written below.
    """
    foot = list(problem_lines(problems))
    top = EDGE + 2 * _LINE
    texts = [safe(title, _COLUMNS), _legend(picture), *foot]
    width = max(picture.width, max(map(width_of, texts)) * 1.02) + 2 * EDGE
    below = top + picture.height + _PLAIN_FOOT
    height = below + _LINE * len(foot) + (EDGE if foot else 0)
    body = "\n".join(_group(picture, (EDGE, top)))
    lines = "\n".join(
        f'<text class="problem" x="{EDGE:g}" y="{below + _LINE * (at + 0.8):g}">{markup(line)}</text>'
        for at, line in enumerate(foot)
    )
    return document(
        title,
        width,
        height,
        f'<text class="title" x="{EDGE:g}" y="{EDGE + 6:g}">{markup(safe(title, _COLUMNS))}</text>\n'
        f'<text class="small" x="{EDGE:g}" y="{EDGE + 6 + _LINE:g}">{markup(_legend(picture))}</text>\n{body}\n{lines}',
    )


def document(title: str, width: float, height: float, body: str) -> str:
    """An SVG document of this size (str).

    Args:
        title: for whoever does not see it.
        width, height: pixels.
        body: markup.
    """
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{markup(safe(title, 200))}">\n'
        f"<style>{STYLE}</style>\n"
        f'<rect class="back" width="100%" height="100%"/>\n{body}\n</svg>\n'
    )


def problem_lines(problems: Sequence[str]) -> Iterator[str]:
    """What is written of problems below a picture, as safe texts."""
    for problem in problems[:MOST_LISTED]:
        yield safe(problem, _COLUMNS)
    if len(problems) > MOST_LISTED:
        yield f"and {len(problems) - MOST_LISTED:,} more problems"


def _legend(picture: Picture) -> str:
    nodes = sum(1 for _ in picture.sketch.all_nodes())
    count = f"{nodes:,} node{'' if nodes == 1 else 's'}"
    streams = any(curve.edge.stream for each in _all(picture) for curve in each.curves)
    marks = "; a dashed edge is a stream" if streams else ""
    return f"{count}{marks}"


def _all(picture: Picture) -> Iterator[Picture]:
    yield picture
    for inside in picture.insides.values():
        yield from _all(inside)


def _group(picture: Picture, at: Point) -> Iterator[str]:
    yield f'<g transform="translate({at[0]:.1f} {at[1]:.1f})">'
    # Frames are behind the edges around them, other nodes before.
    frames = [index for index in range(len(picture.boxes)) if index in picture.insides]
    for index in frames:
        yield from _box(picture.boxes[index], frame=True)
    for curve in picture.curves:
        yield _curve(curve)
    for index, box in enumerate(picture.boxes):
        if index not in picture.insides:
            yield from _box(box, frame=False)
    for index in frames:
        yield from _group(picture.insides[index], inside_of(picture.boxes[index]))
    yield "</g>"


def _box(box: Box, *, frame: bool) -> Iterator[str]:
    node = box.node
    classes = [node.state, *(["frame"] if frame else []), *(["wrong"] if node.problems else [])]
    classes += [f"became-{node.became}"] if node.became in _BECAME else []
    width, height = f"{box.width:.0f}", f"{box.height:.0f}"
    yield f'<g class="{" ".join(classes)}" transform="translate({box.x:.1f} {box.y:.1f})">'
    yield f"<title>{markup(_told(box))}</title>"
    yield f'<rect class="node" width="{width}" height="{height}" rx="6"/>'
    yield f'<path class="head" d="M0.7 {HEAD:g}V6q0-5.3 5.3-5.3H{box.width - 6:.1f}q5.3 0 5.3 5.3V{HEAD:g}z"/>'
    yield f'<text class="title" x="10" y="17">{markup(box.title)}</text>'
    yield f'<text class="small" x="10" y="33">{markup(box.type)}</text>'
    if box.note:
        yield f'<text class="small" x="10" y="{HEAD + ROW * 0.7:g}">{markup(box.note)}</text>'
    for row in box.inputs:
        yield from _row(row, 0.0, 9.0, "")
    for row in box.outputs:
        yield from _row(row, box.width, box.width - 9, "end")
    if node.problems:
        yield f'<circle class="badge" cx="{box.width - 14:.0f}" cy="14" r="8"/>'
        count = min(len(node.problems), 99)
        yield f'<text class="badge-text small middle" x="{box.width - 14:.0f}" y="18">{count}</text>'
    yield "</g>"


def _told(box: Box) -> str:
    node = box.node
    said = [safe(f"{node.id}: {node.type}", 300)]
    if node.became:
        said.append(safe(node.became, 40))
    if node.state in ("bypassed", "unknown"):
        said.append("bypassed" if node.state == "bypassed" else "no plugin has this node")
    said += [safe(problem, 300) for problem in node.problems[:_TOLD]]
    if len(node.problems) > _TOLD:
        said.append(f"and {len(node.problems) - _TOLD:,} more")
    return "\n".join(said)


def _row(row: Row, x: float, label: float, more: str) -> Iterator[str]:
    if row.pin is not None:
        kind = "pin-odd" if not row.pin.known else "pin-stream" if row.pin.stream else "pin"
        kind += "" if row.joined else " free"
        what = markup(safe(row.pin.type + (" stream" if row.pin.stream else ""), 40))
        title = f"<title>{what}</title>" if what else ""
        if row.pin.stream:
            yield f'<rect class="{kind}" x="{x - 4:.0f}" y="{row.y - 4:.1f}" width="8" height="8">{title}</rect>'
        else:
            yield f'<circle class="{kind}" cx="{x:.0f}" cy="{row.y:.1f}" r="4">{title}</circle>'
    classes = f"small {more}" if more else "small"
    yield f'<text class="{classes}" x="{label:.0f}" y="{row.y + 4:.1f}">{markup(row.label)}</text>'


def _curve(curve: Curve) -> str:
    points = curve.points
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    if curve.below is not None:
        (x, y), (end, at_end), low = points[0], points[-1], curve.below
        path += f"C{x + _BACK:.1f} {y:.1f} {x + _BACK:.1f} {low:.1f} {x:.1f} {low:.1f}H{end:.1f}"
        path += f"C{end - _BACK:.1f} {low:.1f} {end - _BACK:.1f} {at_end:.1f} {end:.1f} {at_end:.1f}"
        points = ()
    for at in range(0, len(points) - 1, 2):
        path += _bend(points[at], points[at + 1])
        if at + 2 < len(points):
            path += f"H{points[at + 2][0]:.1f}"
    return f'<path class="{"edge stream" if curve.edge.stream else "edge"}" d="{path}"/>'


def _bend(start: Point, end: Point) -> str:
    # Also where an editor put the end before the beginning, it leaves and arrives as all others do.
    reach = (end[0] - start[0]) / 2 if end[0] > start[0] else _BACK
    return f"C{start[0] + reach:.1f} {start[1]:.1f} {end[0] - reach:.1f} {end[1]:.1f} {end[0]:.1f} {end[1]:.1f}"
