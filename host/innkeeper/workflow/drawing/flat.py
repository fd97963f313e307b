"""A workflow as it runs: groups dissolved, each inner node with the id of its group before its own."""

from __future__ import annotations

from dataclasses import replace

from innkeeper.workflow.checking.graph import GROUP_INPUT, GROUP_OUTPUT, NODE_GROUP
from innkeeper.workflow.drawing.sketch import Sketch, SketchEdge, SketchNode
from innkeeper.workflow.formats.parts import MAX_EDGES

_End = tuple[int, str]

_MOST = 10 * MAX_EDGES
"""Connections that are followed in all. Groups that give several values on to groups could make billions of a few
edges."""


def flat(sketch: Sketch) -> Sketch:
    """The same workflow without groups: edges lead through where they were. Loops keep what is inside of them, since
    that runs for each turn; bypassed groups stay one node.

    Args:
        sketch: is not changed, but its nodes are taken over.
    """
    made = Sketch(sketch.name, sketch.id, problems=list(sketch.problems))
    _Flattening(made).add(sketch, "")
    return made


class _Flattening:
    def __init__(self, made: Sketch) -> None:
        self._made = made
        self._left = _MOST

    def add(
        self, sketch: Sketch, prefix: str
    ) -> tuple[dict[str, list[_End]], dict[str, list[_End]], list[tuple[str, str]]]:
        """Adds the nodes of a workflow and the edges between them.

        Returns:
            By key of its interface, where an input leads to and where an output comes from; and pairs of keys that it
            only passes through.
        """
        takers: dict[int, dict[str, list[_End]]] = {}
        givers: dict[int, dict[str, list[_End]]] = {}
        passing: dict[int, list[tuple[str, str]]] = {}
        ends: dict[int, int] = {}
        border = {GROUP_INPUT, GROUP_OUTPUT} if prefix else set()
        for index, node in enumerate(sketch.nodes):
            if node.type == NODE_GROUP and node.inside is not None and node.state != "bypassed":
                takers[index], givers[index], passing[index] = self.add(node.inside, f"{prefix}{node.id}/")
            elif node.type not in border and not (prefix and node.type == "of the workflow"):
                ends[index] = len(self._made.nodes)
                self._made.nodes.append(_renamed(node, f"{prefix}{node.id}") if prefix else node)
        inward: dict[str, list[_End]] = {}
        outward: dict[str, list[_End]] = {}
        through: list[tuple[str, str]] = []
        incoming: dict[_End, list[SketchEdge]] = {}
        for edge in sketch.edges:
            incoming.setdefault((edge.target, edge.input), []).append(edge)
        crossing: dict[_End, list[str]] = {}
        for index, pairs in passing.items():
            for into, out in pairs:
                crossing.setdefault((index, out), []).append(into)
        for edge in sketch.edges:
            targets = [(ends[edge.target], edge.input)] if edge.target in ends else []
            if edge.target in takers:
                targets = takers[edge.target].get(edge.input, [])
            leaves = edge.target not in ends and edge.target not in takers
            for source, key in self._origins(edge, incoming, crossing):
                if source in ends or source in givers:
                    found = [(ends[source], key)] if source in ends else givers[source].get(key, [])
                    if not self._follow(len(found) * max(len(targets), 1)):
                        continue
                    for start in found:
                        for target in targets:
                            self._edge(start, target, edge.stream)
                        if leaves:
                            outward.setdefault(edge.input, []).append(start)
                elif self._follow(len(targets)):
                    inward.setdefault(key, []).extend(targets)
                    if leaves:
                        through.append((key, edge.input))
        return inward, outward, through

    def _origins(
        self, edge: SketchEdge, incoming: dict[_End, list[SketchEdge]], crossing: dict[_End, list[str]]
    ) -> list[_End]:
        """Where an edge begins, seen through groups that only pass a value on."""
        found: list[_End] = []
        waiting, seen = [(edge.source, edge.output)], set()
        while waiting:
            end = waiting.pop()
            if end in seen:
                continue
            seen.add(end)
            found.append(end)
            for key in crossing.get(end, ()):
                before = incoming.get((end[0], key), [])
                if self._follow(1 + len(before)):
                    waiting += [(each.source, each.output) for each in before]
        return found

    def _follow(self, count: int) -> bool:
        """Whether so many more connections can be followed; if not, the picture says so."""
        if self._left >= 0:
            self._left -= count
            if self._left < 0:
                self._made.problems.append(
                    "its groups pass on more connections than can be followed: not all are drawn"
                )
        return self._left >= 0

    def _edge(self, start: _End, target: _End, stream: bool) -> None:
        if len(self._made.edges) < MAX_EDGES:
            self._made.edges.append(SketchEdge(start[0], start[1], target[0], target[1], stream))


def _renamed(node: SketchNode, id: str) -> SketchNode:
    return replace(node, id=id, position=None)
