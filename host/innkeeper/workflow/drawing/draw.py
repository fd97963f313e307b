"""The picture of a workflow: each node where there are few, levels where there are many."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from innkeeper.workflow.checking.problems import Problem
from innkeeper.workflow.drawing.arranging import arranged
from innkeeper.workflow.drawing.levels import levels_svg
from innkeeper.workflow.drawing.sketch import Sketch, SketchNode
from innkeeper.workflow.drawing.svg import svg_of

MOST_DRAWN: Final = 400
"""Nodes, those in groups included, of which each is drawn: a picture of more is larger than anybody scrolls."""

MOST_LINES: Final = 3000
"""Edges of which each is drawn."""

_TURN = re.compile(r"\[[0-9]{1,9}\]/")
_WORSE: Final = ("", "bypassed", "skipped", "complete", "running", "interrupted", "error")


def draw(sketch: Sketch, title: str, problems: Sequence[str] = (), *, editor: bool = False) -> str:
    """The picture (str, SVG).

    Args:
        sketch: the workflow.
        title: what it is of.
        problems: what is wrong, one sentence each, to be written below.
        editor: nodes stand where an editor put them, as far as it did.
    """
    if too_many(sketch):
        return levels_svg(sketch, title, problems)
    return svg_of(arranged(sketch, editor=editor), title, problems)


def too_many(sketch: Sketch) -> bool:
    """Whether only the levels of a workflow are drawn (bool)."""
    nodes = edges = 0
    for each in _sketches(sketch):
        nodes, edges = nodes + len(each.nodes), edges + len(each.edges)
        if nodes > MOST_DRAWN or edges > MOST_LINES:
            return True
    return False


def mark(sketch: Sketch, problems: Sequence[Problem]) -> list[Problem]:
    """Puts problems at the nodes that they concern, in each place where a workflow is drawn; gives those that concern
    none that is drawn (list).

    Args:
        sketch: the workflow; its nodes get them.
        problems: as a check found them.
    """
    nodes: dict[tuple[str, str], list[SketchNode]] = {}
    for each in _sketches(sketch):
        for node in each.nodes:
            nodes.setdefault((each.id, node.id), []).append(node)
    left: list[Problem] = []
    for problem in problems:
        found = [] if problem.node is None else nodes.get((problem.workflow or "", problem.node), [])
        for node in found:
            node.problems.append(f"{problem.slot}: {problem.text}" if problem.slot else problem.text)
        if not found:
            left.append(problem)
    return left


def colour(sketch: Sketch, became: Mapping[str, str]) -> None:
    """Shows what became of nodes in a run.

    Args:
        sketch: the workflow; its nodes get it.
        became: by id, as events have it: GROUP/NODE in a group, LOOP[TURN]/NODE in a loop, where the worst of all turns
            is shown.
    """
    worst: dict[str, str] = {}
    for id, status in became.items():
        plain = _TURN.sub("/", id)
        if status in _WORSE:
            worst[plain] = max(worst.get(plain, ""), status, key=_WORSE.index)
    for id, node in _by_id(sketch, ""):
        node.became = worst.get(id, "")


def _by_id(sketch: Sketch, prefix: str) -> Iterator[tuple[str, SketchNode]]:
    for node in sketch.nodes:
        yield prefix + node.id, node
        if node.inside is not None:
            yield from _by_id(node.inside, f"{prefix}{node.id}/")


def _sketches(sketch: Sketch) -> Iterator[Sketch]:
    yield sketch
    for node in sketch.nodes:
        if node.inside is not None:
            yield from _sketches(node.inside)
