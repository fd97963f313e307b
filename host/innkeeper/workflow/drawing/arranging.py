"""Where everything of a picture lies: nodes in layers from left to right, edges around them, groups as frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from innkeeper.workflow.drawing.boxes import MARGIN, Box, box_of
from innkeeper.workflow.drawing.layers import forward_edges, layers_of
from innkeeper.workflow.drawing.ordering import Ends, ordered
from innkeeper.workflow.drawing.placing import tops_of
from innkeeper.workflow.drawing.sketch import Sketch, SketchEdge

Point = tuple[float, float]

_GAP = 22.0
"""Pixels between nodes of a layer."""
_BETWEEN, _MOST_BETWEEN = 56.0, 160.0
"""Pixels between layers, the more the more edges are there."""
_LANE = 16.0
"""Pixels that an edge has which passes a layer."""
_BENDS: Final = 6000
"""Places where edges pass layers, in one picture: longer edges beyond it go straight across."""
_FAR: Final = 20_000.0
"""Pixels that an editor's picture may have each way."""
_STRAIGHT = 8.0
"""How much more an edge that passes cares to be straight than a node to be in line."""


@dataclass(frozen=True, slots=True)
class Curve:
    """An edge as it is drawn.

    Attributes:
        edge: which.
        points: from its beginning to its end; each further pair is where it enters and leaves a layer that it passes.
        below: of an edge that leads back, how far down it does so; else None.
    """

    edge: SketchEdge
    points: tuple[Point, ...]
    below: float | None = None


@dataclass(slots=True)
class Picture:
    """A workflow in its place.

    Attributes:
        sketch: what it shows.
        boxes: its nodes.
        curves: its edges.
        insides: what is inside of its nodes, by number.
        width, height: pixels.
    """

    sketch: Sketch
    boxes: list[Box]
    curves: list[Curve]
    insides: dict[int, Picture]
    width: float
    height: float


def arranged(sketch: Sketch, *, editor: bool = False) -> Picture:
    """A workflow in its place.

    Args:
        sketch: what is to be drawn; groups that have an inside are frames around it.
        editor: nodes stand where the editor put them; those that it put nowhere stand below.
    """
    insides = {
        index: arranged(node.inside, editor=editor)
        for index, node in enumerate(sketch.nodes)
        if node.inside is not None
    }
    fed: list[set[str]] = [set() for _ in sketch.nodes]
    used: list[set[str]] = [set() for _ in sketch.nodes]
    for edge in sketch.edges:
        used[edge.source].add(edge.output)
        fed[edge.target].add(edge.input)
    sizes = {index: (inside.width, inside.height) for index, inside in insides.items()}
    boxes = [box_of(node, fed[at], used[at], sizes.get(at)) for at, node in enumerate(sketch.nodes)]
    if editor and _in_editor(sketch, boxes):
        curves = [Curve(edge, _ends(edge, boxes)) for edge in sketch.edges]
    else:
        curves = _layered(sketch, boxes)
    width = max((box.x + box.width for box in boxes), default=0.0)
    # Edges that pass or lead back may lie lower than all nodes.
    low = [y for curve in curves for _, y in curve.points] + [
        curve.below for curve in curves if curve.below is not None
    ]
    height = max([box.y + box.height for box in boxes] + low, default=0.0)
    return Picture(sketch, boxes, curves, insides, width, height)


def inside_of(box: Box) -> Point:
    """Where in the picture around it the inside of a group begins (x, y)."""
    return box.x + MARGIN, box.y + box.inside_y


def _ends(edge: SketchEdge, boxes: Sequence[Box]) -> tuple[Point, Point]:
    source, target = boxes[edge.source], boxes[edge.target]
    return (
        (source.x + source.width, source.y + source.output_y(edge.output)),
        (target.x, target.y + target.input_y(edge.input)),
    )


def _in_editor(sketch: Sketch, boxes: Sequence[Box]) -> bool:
    """Puts boxes where the editor has them; False where it has none, or they are out of all proportion."""
    there = [(box, node.position) for box, node in zip(boxes, sketch.nodes, strict=True) if node.position is not None]
    if not there:
        return False
    left, top = min(at[0] for _, at in there), min(at[1] for _, at in there)
    right, bottom = max(at[0] for _, at in there), max(at[1] for _, at in there)
    if not (right - left <= _FAR and bottom - top <= _FAR):
        return False
    for box, at in there:
        box.x, box.y = at[0] - left, at[1] - top
    x, below = 0.0, max(box.y + box.height for box, _ in there) + 3 * _GAP
    for box in boxes:
        if box.node.position is None:
            box.x, box.y = x, below
            x += box.width + _GAP
    return True


def _layered(sketch: Sketch, boxes: Sequence[Box]) -> list[Curve]:
    count = len(boxes)
    forward = forward_edges(count, ((edge.source, edge.target) for edge in sketch.edges))
    layer = layers_of(count, forward)
    layers: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for index in range(count):
        layers[layer[index]].append(index)
    onward = set(forward)
    long = [
        at
        for at, edge in enumerate(sketch.edges)
        if (edge.source, edge.target) in onward and layer[edge.target] - layer[edge.source] > 1
    ]
    # Where there are too many, the short ones go around nodes.
    long.sort(key=lambda at: layer[sketch.edges[at].target] - layer[sketch.edges[at].source])
    passing: dict[int, list[int]] = {}
    made = count
    for at in long:
        edge = sketch.edges[at]
        passed = range(layer[edge.source] + 1, layer[edge.target])
        if made - count + len(passed) > _BENDS:
            break
        passing[at] = list(range(made, made + len(passed)))
        for index, number in zip(passed, passing[at], strict=True):
            layers[index].append(number)
        made += len(passed)
    pieces, shifts, lanes = _pieces(sketch, boxes, layer, onward, passing)
    layers = ordered(layers, pieces)
    sizes = {index: box.height + _GAP for index, box in enumerate(boxes)} | dict.fromkeys(range(count, made), _LANE)
    weights = dict.fromkeys(range(count), 1.0) | dict.fromkeys(range(count, made), _STRAIGHT)
    tops = tops_of(layers, sizes, weights, shifts)
    lefts, widths = _columns(layers, boxes, lanes)
    for index, box in enumerate(boxes):
        column = layer[index]
        box.x, box.y = lefts[column] + round((widths[column] - box.width) / 2), tops[index]
    curves = []
    below = max((box.y + box.height for box in boxes), default=0.0)
    for at, edge in enumerate(sketch.edges):
        first, last = _ends(edge, boxes)
        if (edge.source, edge.target) not in onward:
            below += _LANE / 2
            curves.append(Curve(edge, (first, last), below))
            continue
        points = [first]
        for step, number in enumerate(passing.get(at, ())):
            column, y = layer[edge.source] + 1 + step, tops[number] + _LANE / 2
            points += [(lefts[column], y), (lefts[column] + widths[column], y)]
        curves.append(Curve(edge, (*points, last)))
    return curves


def _pieces(
    sketch: Sketch, boxes: Sequence[Box], layer: list[int], onward: set[tuple[int, int]], passing: dict[int, list[int]]
) -> tuple[list[Ends], list[tuple[int, float, int, float]], list[int]]:
    """The pieces of all edges between neighbouring layers, once with shares and once with pixels, and how many begin
    at each layer."""
    pieces: list[Ends] = []
    shifts: list[tuple[int, float, int, float]] = []
    lanes = [0] * (max(layer, default=-1) + 1)
    for at, edge in enumerate(sketch.edges):
        if (edge.source, edge.target) not in onward:
            continue
        if at not in passing and layer[edge.target] - layer[edge.source] > 1:
            continue
        source, target = boxes[edge.source], boxes[edge.target]
        way = [edge.source, *passing.get(at, ()), edge.target]
        for step in range(len(way) - 1):
            out = source.output_y(edge.output) if step == 0 else _LANE / 2
            into = target.input_y(edge.input) if step == len(way) - 2 else _LANE / 2
            share_out = out / source.height if step == 0 else 0.5
            share_in = into / target.height if step == len(way) - 2 else 0.5
            pieces.append((way[step], share_out, way[step + 1], share_in))
            shifts.append((way[step], out, way[step + 1], into))
            lanes[layer[edge.source] + step] += 1
    return pieces, shifts, lanes


def _columns(
    layers: Sequence[Sequence[int]], boxes: Sequence[Box], lanes: list[int]
) -> tuple[list[float], list[float]]:
    widths = [max((boxes[node].width for node in layer if node < len(boxes)), default=0.0) for layer in layers]
    lefts, at = [], 0.0
    for width, many in zip(widths, lanes, strict=True):
        lefts.append(at)
        at += width + min(_MOST_BETWEEN, _BETWEEN + 3 * many)
    return lefts, widths
