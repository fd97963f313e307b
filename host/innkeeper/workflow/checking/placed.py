"""A workflow whose nodes are known, before it is put into a graph: each group is one node in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from innkeeper.plugins.nodes import InputDefinition, Slot
from innkeeper.workflow.checking.graph import GraphNode, Origin, Passed, Source
from innkeeper.workflow.formats.payload import ExecutionNode, WorkflowPayload


@dataclass(slots=True)
class GroupNode:
    """A group: another workflow in the place of a node.

    Attributes:
        node: as it was submitted.
        inputs: the interface inputs of the workflow.
        outputs: its interface outputs.
        template: the workflow.
        sources: per input that takes values, the outputs whose values it gets.
        streams: per stream input that something flows into, where from.
    """

    node: ExecutionNode
    inputs: Mapping[str, InputDefinition]
    outputs: Mapping[str, Slot]
    template: Template
    sources: dict[str, list[Origin]] = field(default_factory=dict)
    streams: dict[str, Source] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The node's id in its workflow."""
        return self.node.id

    @property
    def full_type(self) -> str:
        """The node's type."""
        return self.node.full_type

    @property
    def presets(self) -> Mapping[str, Any]:
        """Per input, a value that applies where no edge brings one."""
        return self.node.inputs


Placed = GraphNode | GroupNode
"""A node of a template. Its origins name nodes of the same template."""


@dataclass(slots=True, eq=False)
class Template:
    """A workflow whose names are resolved, as often as it may be put into a graph.

    Attributes:
        id: of the workflow that a group or a loop refers to; None for the one that was submitted.
        payload: the workflow.
        inputs: its interface inputs.
        outputs: its interface outputs; where it declares none, those that something is connected to.
        nodes: by id, in the order of the payload.
        unresolved: ids of nodes that are there, but whose slots are not known: nothing more is said about these.
        loops: by the id of a loop, the workflow of one turn.
        results: per interface output that has one, the output of a node that gives it.
        height: workflows within each other, this one counted.
        size: nodes when all groups are put in, groups included.
        edges: edges likewise.
        stream_edges: those of them that are streams.
        passed: by type of node, what a bypassed one of this workflow's interface gives.
        arrays: its interface outputs as those of a loop over an array, once they were asked for.
    """

    id: str | None
    payload: WorkflowPayload
    inputs: Mapping[str, InputDefinition] = field(default_factory=dict)
    outputs: Mapping[str, Slot] = field(default_factory=dict)
    nodes: dict[str, Placed] = field(default_factory=dict)
    unresolved: set[str] = field(default_factory=set)
    loops: dict[str, Template] = field(default_factory=dict)
    results: dict[str, Source] = field(default_factory=dict)
    height: int = 1
    size: int = 0
    edges: int = 0
    stream_edges: int = 0
    passed: dict[str, Mapping[str, Passed]] = field(default_factory=dict)
    arrays: Mapping[str, Slot] | None = None
