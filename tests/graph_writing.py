"""Writes a workflow in either of its JSON forms."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from innkeeper.plugins.nodes import InputDefinition, OutputDefinition, Slot


@dataclass(frozen=True)
class Place:
    """An output that later nodes can connect with.

    Attributes:
        sure: whether a value of it always has its type.
    """

    node: str
    slot_key: str
    slot: OutputDefinition
    sure: bool


def slot_json(slot: Slot) -> dict[str, Any]:
    """The slot of an interface that stands for another."""
    found: dict[str, Any] = {"dataFlowType": slot.data_flow_type}
    return {**found, "isStream": True} if slot.is_stream else found


@dataclass
class Writer:
    """A workflow that grows."""

    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    edges: list[dict[str, Any]] = field(default_factory=list)
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    mappings: dict[str, tuple[str, str]] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    sure: dict[str, bool] = field(default_factory=dict)

    def name(self, type_: str) -> str:
        """An id that no node has."""
        return f"{type_}{len(self.nodes)}"

    def add(self, id: str, full_type: str, more: dict[str, Any]) -> None:
        """Adds a node."""
        self.nodes[id] = {"id": id, "fullType": full_type, **more}

    def place(self, node: str, slot: str) -> Place:
        """An output that was offered."""
        return next(each for each in self.places if (each.node, each.slot_key) == (node, slot))

    def connect(self, place: Place, node: str, handle: str) -> str:
        """Adds an edge, and gives its id."""
        id = f"e{len(self.edges)}"
        edge = {"id": id, "sourceNodeId": place.node, "sourceHandle": place.slot_key}
        self.edges.append({**edge, "targetNodeId": node, "targetHandle": handle})
        return id

    def connect_all(self, places: Sequence[Place], node: str, key: str, multi: bool, way: int) -> None:
        """Adds the edges of an input; of a multi input in one of several ways to say their order."""
        last = len(places) - 1
        handles = [f"{key}__{last - index}" if way % 2 and multi else key for index in range(last + 1)]
        ids = [self.connect(place, node, handle) for place, handle in zip(places, handles, strict=True)]
        if multi and way >= 4:
            orders = self.nodes[node].setdefault("inputConnectionOrders", {})
            orders[key] = ids[::-1][: way - 3]

    def shuffle(self, by: random.Random) -> None:
        """Nobody promises that nodes stand behind those that they need."""
        nodes = list(self.nodes.values())
        by.shuffle(nodes)
        by.shuffle(self.edges)
        self.nodes = {node["id"]: node for node in nodes}

    def input_slots(self) -> dict[str, InputDefinition]:
        """The inputs of the interface."""
        return {key: InputDefinition.model_validate(slot) for key, slot in self.inputs.items()}

    def execution(self) -> dict[str, Any]:
        """As it is submitted."""
        payload: dict[str, Any] = {"nodes": list(self.nodes.values()), "edges": self.edges}
        payload["interfaceInputs"] = self.inputs
        payload["interfaceOutputs"] = self.outputs
        if self.mappings:
            payload["outputInterfaceMappings"] = {
                key: {"sourceNodeId": node, "sourceSlotKey": slot} for key, (node, slot) in self.mappings.items()
            }
        return payload

    def stored(self, id: str) -> dict[str, Any]:
        """As an editor stores it."""
        names = {"fullType": "type", "inputs": "inputValues"}
        nodes: list[dict[str, Any]] = [
            {names.get(key, key): value for key, value in node.items()} | {"position": {"x": 0, "y": 40 * index}}
            for index, node in enumerate(self.nodes.values())
        ]
        names = {"sourceNodeId": "source", "targetNodeId": "target"}
        edges = [{names.get(key, key): value for key, value in edge.items()} for edge in self.edges]
        more = {"viewport": {"x": 0, "y": 0, "zoom": 1}, "interfaceInputs": self.inputs}
        return {"id": id, "name": id, "nodes": nodes, "edges": edges, **more, "interfaceOutputs": self.outputs}


@dataclass
class Body:
    """A workflow that others may refer to.

    Attributes:
        kind: "group", "each", "while" or "top".
        size: its nodes, those of groups and turns included.
    """

    writer: Writer
    kind: str
    size: int

    def outputs(self) -> dict[str, OutputDefinition]:
        """The outputs of its interface."""
        return {key: OutputDefinition.model_validate(slot) for key, slot in self.writer.outputs.items()}
