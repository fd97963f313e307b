"""Both JSON forms of a workflow as one plain shape."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from innkeeper.workflow.formats.payload import InterfaceSlot


@dataclass
class Node:
    """A node as its author placed it."""

    id: str
    type: str
    presets: dict[str, Any]
    config: dict[str, Any]
    bypassed: bool
    orders: dict[str, list[str]]

    @property
    def policy(self) -> dict[str, Any]:
        """What the author wants of the engine."""
        given = self.config.get("innkeeper", {})
        assert isinstance(given, dict)
        return given


@dataclass
class Edge:
    """A connection."""

    id: str | None
    source: str
    output: str
    target: str
    input: str


@dataclass
class Workflow:
    """A graph before anything is resolved."""

    nodes: dict[str, Node]
    edges: list[Edge]
    inputs: dict[str, InterfaceSlot]
    outputs: dict[str, InterfaceSlot]
    mappings: dict[str, tuple[str, str]]
    preview: bool = False
    referenced: dict[str, Any] = field(default_factory=dict)

    def edges_into(self, node: str, key: str) -> list[Edge]:
        """The edges that end at an input, in the order of their values."""
        found = []
        for edge in self.edges:
            stem, _, number = edge.input.rpartition("__")
            if edge.target != node:
                continue
            if edge.input == key:
                found.append((None, edge))
            elif stem == key and number.isdecimal():
                found.append((int(number), edge))
        orders = self.nodes[node].orders.get(key, [])
        ordered = [edge for wanted in orders for _, edge in found if edge.id == wanted]
        rest = [(number, edge) for number, edge in found if edge.id is None or edge.id not in orders]
        numbered = sorted((each for each in rest if each[0] is not None), key=lambda each: each[0])
        return [*ordered, *(edge for _, edge in numbered), *(edge for number, edge in rest if number is None)]


def read(data: dict[str, Any]) -> Workflow:
    """A workflow of plain data: what is submitted, or what an editor stores."""
    stored = "viewport" in data
    nodes = {}
    for node in data["nodes"]:
        nodes[node["id"]] = Node(
            node["id"],
            node["type" if stored else "fullType"],
            node.get("inputValues" if stored else "inputs", {}),
            node.get("configValues", {}),
            node.get("bypassed", False) or node.get("data", {}).get("bypassed", False),
            node.get("inputConnectionOrders", {}),
        )
    names = ("source", "target") if stored else ("sourceNodeId", "targetNodeId")
    edges = [
        Edge(edge.get("id"), edge[names[0]], edge["sourceHandle"], edge[names[1]], edge["targetHandle"])
        for edge in data["edges"]
    ]
    mappings = data.get("outputInterfaceMappings", {})
    return Workflow(
        nodes,
        edges,
        {key: InterfaceSlot.model_validate(slot) for key, slot in data.get("interfaceInputs", {}).items()},
        {key: InterfaceSlot.model_validate(slot) for key, slot in data.get("interfaceOutputs", {}).items()},
        {key: (each["sourceNodeId"], each["sourceSlotKey"]) for key, each in mappings.items()},
        data.get("metadata", {}).get("isPreviewRun", False),
        data.get("innkeeper", {}).get("workflows", {}),
    )
