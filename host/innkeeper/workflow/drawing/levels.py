"""A workflow too large to be drawn node by node: how many nodes there are at each level, and of which types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from innkeeper.workflow.drawing.flat import flat
from innkeeper.workflow.drawing.layers import forward_edges, layers_of
from innkeeper.workflow.drawing.sketch import Sketch
from innkeeper.workflow.drawing.svg import EDGE, document, problem_lines
from innkeeper.workflow.drawing.text import markup, safe

MOST_BANDS: Final = 40

_TYPES = 4
_ROW = 44.0
_LEFT, _WIDTH, _RIGHT = 150.0, 420.0, 470.0
_LINE = 18.0


@dataclass(slots=True)
class _Band:
    types: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    nodes: int = 0
    wrong: int = 0
    inner: int = 0
    edges: int = 0
    streams: int = 0


def levels_svg(sketch: Sketch, title: str, problems: Sequence[str]) -> str:
    """The levels of a workflow (str, SVG): groups are dissolved, and neighbouring levels share a row where there are
    many.

    Args:
        sketch: the workflow.
        title: what it is of.
        problems: what is wrong, one sentence each.
    """
    whole = flat(sketch)
    forward = forward_edges(len(whole.nodes), ((edge.source, edge.target) for edge in whole.edges))
    layer = layers_of(len(whole.nodes), forward)
    count = max(layer, default=-1) + 1
    each = max(1, -(-count // MOST_BANDS))
    bands = [_Band() for _ in range(-(-count // each))]
    for index, node in enumerate(whole.nodes):
        band = bands[layer[index] // each]
        band.nodes += 1
        band.types[node.type] += 1
        band.states[node.state] += 1
        band.wrong += bool(node.problems)
        if node.inside is not None:
            band.inner += sum(1 for _ in node.inside.all_nodes())
    for edge in whole.edges:
        band = bands[layer[edge.source] // each]
        band.edges += 1
        band.streams += edge.stream
    said = f"{len(whole.nodes):,} nodes at {count:,} levels and {len(whole.edges):,} edges: too many to draw each"
    top = EDGE + 2 * _LINE + 8
    most = max((band.nodes for band in bands), default=1)
    rows = "\n".join(
        _row(band, _name(at * each, min(count, (at + 1) * each) - 1), top + _ROW * at, most)
        for at, band in enumerate(bands)
    )
    foot = list(problem_lines([*problems, *whole.problems[len(sketch.problems) :]]))
    below = top + _ROW * len(bands) + 8
    lines = "\n".join(
        f'<text class="problem" x="{EDGE:g}" y="{below + _LINE * (at + 0.8):g}">{markup(line)}</text>'
        for at, line in enumerate(foot)
    )
    return document(
        title,
        2 * EDGE + _LEFT + _WIDTH + _RIGHT,
        below + _LINE * len(foot) + EDGE,
        f'<text class="title" x="{EDGE:g}" y="{EDGE + 6:g}">{markup(safe(title, 120))}</text>\n'
        f'<text class="small" x="{EDGE:g}" y="{EDGE + 6 + _LINE:g}">{markup(said)}</text>\n{rows}\n{lines}',
    )


def _name(first: int, last: int) -> str:
    return f"level {first + 1:,}" if first == last else f"levels {first + 1:,} to {last + 1:,}"


def _row(band: _Band, name: str, top: float, most: int) -> str:
    long = max(2.0, band.nodes / most * _WIDTH)
    wrong = max(2.0, band.wrong / most * _WIDTH) if band.wrong else 0.0
    types = [f"{safe(each, 40)} × {count:,}" for each, count in band.types.most_common(_TYPES)]
    if len(band.types) > _TYPES:
        types.append(f"{len(band.types) - _TYPES:,} more types")
    notes = [f"{band.nodes:,} node{'' if band.nodes == 1 else 's'}", f"{band.edges:,} edges leave"]
    notes += [f"{band.streams:,} of them streams"] if band.streams else []
    notes += [f"{count:,} {state}" for state, count in band.states.items() if state in ("bypassed", "unknown")]
    notes += [f"{band.inner:,} in loops"] if band.inner else []
    notes += [f"{band.wrong:,} with problems"] if band.wrong else []
    at = EDGE + _LEFT
    return (
        f'<text x="{EDGE:g}" y="{top + 15:g}">{name}</text>'
        f'<rect class="bar" x="{at:g}" y="{top + 3:g}" width="{long:.1f}" height="16" rx="3"/>'
        + (
            f'<rect class="bar-odd" x="{at:g}" y="{top + 3:g}" width="{wrong:.1f}" height="16" rx="3"/>'
            if wrong
            else ""
        )
        + f'<text class="small" x="{at:g}" y="{top + 32:g}">{markup(", ".join(notes))}</text>'
        f'<text class="small" x="{at + _WIDTH + 12:g}" y="{top + 15:g}">{markup(safe(", ".join(types), 70))}</text>'
    )
