"""What a picture of a workflow shows: nodes with their slots, edges between slots, groups with what is inside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

State = Literal["plain", "engine", "bypassed", "unknown"]
"""How a node looks: as a plugin's, as one of the engine's own, as one that is passed over, as one that nobody has."""


@dataclass(slots=True)
class Pin:
    """A slot of a node.

    Attributes:
        key: its name; unique among the inputs, and among the outputs, of its node.
        type: its `dataFlowType`, or "" where it is not known.
        stream: whether chunks flow.
        known: whether its node's type has it.
    """

    key: str
    type: str = ""
    stream: bool = False
    known: bool = True


@dataclass(slots=True)
class SketchNode:
    """A node of a picture.

    Attributes:
        id: as the workflow has it; where groups are dissolved, with those of the groups before it.
        type: "namespace:type".
        title: what its author called it, or "".
        state: how it looks.
        inputs, outputs: its slots.
        position: where an editor put it, in pixels, or None.
        inside: the workflow that a group or a loop refers to, where it is drawn.
        note: what there is to say of it, or "".
        problems: what is wrong with it, one sentence each.
        became: what became of it in a run: "complete", "error", "skipped", "running", "interrupted"; "" without one.
    """

    id: str
    type: str
    title: str = ""
    state: State = "plain"
    inputs: list[Pin] = field(default_factory=list)
    outputs: list[Pin] = field(default_factory=list)
    position: tuple[float, float] | None = None
    inside: Sketch | None = None
    note: str = ""
    problems: list[str] = field(default_factory=list)
    became: str = ""

    def output(self, key: str) -> Pin:
        """Its output of this name; made, and not known, where it has none."""
        return _pin(self.outputs, key)

    def input(self, key: str) -> Pin:
        """Its input of this name; made, and not known, where it has none."""
        return _pin(self.inputs, key)


@dataclass(frozen=True, slots=True)
class SketchEdge:
    """An edge, from an output of one node to an input of another.

    Attributes:
        source, target: numbers of the nodes in their sketch.
        output, input: keys of the slots.
        stream: whether chunks flow.
    """

    source: int
    output: str
    target: int
    input: str
    stream: bool = False


@dataclass(slots=True)
class Sketch:
    """A workflow as it is drawn.

    Attributes:
        name: its name, or "".
        id: by which groups and loops refer to it; "" for the one that is drawn.
        nodes: in the order of the file.
        edges: whose two nodes are there.
        problems: what is wrong and concerns no node that is drawn, one sentence each.
    """

    name: str = ""
    id: str = ""
    nodes: list[SketchNode] = field(default_factory=list)
    edges: list[SketchEdge] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def all_nodes(self) -> Iterator[SketchNode]:
        """Its nodes and those of the groups in it, outer ones first."""
        for node in self.nodes:
            yield node
            if node.inside is not None:
                yield from node.inside.all_nodes()


def _pin(pins: list[Pin], key: str) -> Pin:
    for pin in pins:
        if pin.key == key:
            return pin
    pin = Pin(key, known=False)
    pins.append(pin)
    return pin
