"""A workflow while it is made, and the two formats that it is written in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Node:
    """A node of the workflow.

    Attributes:
        id, type: of the node; type is "namespace:type".
        name: for people, or "".
        inputs: presets by input key.
        config: its configuration.
        column, row: its place on an editor's canvas.
    """

    id: str
    type: str
    name: str = ""
    inputs: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    column: int = 0
    row: int = 0


@dataclass(slots=True)
class Graph:
    """A workflow.

    Attributes:
        name: of the workflow.
        description: of the workflow.
        nodes: in the order in which they were added.
        edges: (source, its output, target, its input).
        interface: its own inputs and outputs, by key, as `interfaceInputs` and `interfaceOutputs` have them.
        outputs: which output of which node is which output of its own.
        extensions: what has no place in a workflow.
    """

    name: str
    description: str = ""
    nodes: list[Node] = field(default_factory=list)
    edges: list[tuple[str, str, str, str]] = field(default_factory=list)
    interface: tuple[dict[str, Any], dict[str, Any]] = field(default_factory=lambda: ({}, {}))
    outputs: dict[str, tuple[str, str]] = field(default_factory=dict)
    extensions: dict[str, Any] = field(default_factory=dict)

    def add(self, node: Node) -> Node:
        """Adds a node, below the others of its column."""
        node.row = sum(other.column == node.column for other in self.nodes)
        self.nodes.append(node)
        return node

    def connect(self, source: Node, output: str, target: Node, slot: str) -> None:
        """Adds an edge."""
        self.edges.append((source.id, output, target.id, slot))

    def payload(self) -> dict[str, Any]:
        """As an execution payload, which this host runs."""
        nodes = [
            {
                "id": node.id,
                "fullType": node.type,
                "inputs": node.inputs,
                "configValues": node.config,
                **({"inputConnectionOrders": order} if (order := self._orders(node)) else {}),
            }
            for node in self.nodes
        ]
        edges = [
            {
                "id": f"e{at}",
                "sourceNodeId": source,
                "sourceHandle": output,
                "targetNodeId": target,
                "targetHandle": slot,
            }
            for at, (source, output, target, slot) in enumerate(self.edges)
        ]
        return {
            "workflowId": self.name,
            "metadata": {"workflowName": self.name, "description": self.description},
            **self._interface(),
            "nodes": nodes,
            "edges": edges,
            "extensions": self.extensions,
        }

    def document(self) -> dict[str, Any]:
        """As an editor stores it."""
        nodes = [
            {
                "id": node.id,
                "type": node.type,
                "position": {"x": 360 * node.column, "y": 160 * node.row},
                **({"displayName": node.name} if node.name else {}),
                "inputValues": node.inputs,
                "configValues": node.config,
                **({"inputConnectionOrders": order} if (order := self._orders(node)) else {}),
            }
            for node in self.nodes
        ]
        edges = [
            {"id": f"e{at}", "source": source, "target": target, "sourceHandle": output, "targetHandle": slot}
            for at, (source, output, target, slot) in enumerate(self.edges)
        ]
        return {
            "name": self.name,
            "description": self.description,
            "nodes": nodes,
            "edges": edges,
            "viewport": {"x": 0, "y": 0, "zoom": 1},
            "version": "0.0.5",
            "creationMethod": "sillytavern_preset",
            **self._interface(),
            "extensions": self.extensions,
        }

    def _interface(self) -> dict[str, Any]:
        mappings = {key: {"sourceNodeId": node, "sourceSlotKey": slot} for key, (node, slot) in self.outputs.items()}
        inputs, outputs = self.interface
        return {"interfaceInputs": inputs, "interfaceOutputs": outputs, "outputInterfaceMappings": mappings}

    def _orders(self, node: Node) -> dict[str, list[str]]:
        orders: dict[str, list[str]] = {}
        for at, (_, _, target, slot) in enumerate(self.edges):
            if target == node.id:
                orders.setdefault(slot, []).append(f"e{at}")
        return {slot: edges for slot, edges in orders.items() if slot in ("static_text_inputs", "session_state")}
