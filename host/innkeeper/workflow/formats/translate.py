"""Between the two forms of a workflow, as plain data: fields that both have get their other name, the rest passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NODE = {"type": "fullType", "inputValues": "inputs"}
_EDGE = {
    "source": "sourceNodeId",
    "sourceHandle": "sourceHandle",
    "target": "targetNodeId",
    "targetHandle": "targetHandle",
}
_WORKFLOW = {"id": "workflowId"}

_OPTIONAL = ("inputs", "configValues", "inputConnectionOrders", "bypassed", "interfaceInputs", "interfaceOutputs")
"""What the stored form may have as null, and the other one leaves out."""

_COLUMNS = 10
_WIDTH, _HEIGHT = 360, 240
"""Pixels between nodes that nobody has placed."""


def to_execution(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored workflow as an execution payload.

    Args:
        stored: a valid `StoredWorkflow`, as plain data; it is not changed, and parts of it are in the result.

    Returns:
        plain data. `bypassed` is kept, also where an editor has it in `data`. What only editors read stays beside the
        rest; a field that has the name of another one of the payload's is left out.
    """
    nodes = []
    for node in stored["nodes"]:
        made = _renamed(node, _NODE)
        data = node.get("data")
        if node.get("bypassed") is None and isinstance(data, dict) and data.get("bypassed") is True:
            made["bypassed"] = True
        nodes.append(made)
    edges = []
    for edge in stored["edges"]:
        edges.append({"sourceHandle": None, "targetHandle": None, **_renamed(edge, _EDGE)})
    return {**_renamed(stored, _WORKFLOW), "nodes": nodes, "edges": edges}


def to_stored(payload: Mapping[str, Any]) -> dict[str, Any]:
    """An execution payload as an editor stores it.

    Args:
        payload: a valid `WorkflowPayload`, as plain data; it is not changed, and parts of it are in the result.

    Returns:
        plain data. What an editor needs and a payload may lack is made up: a name, a place for each node, the view, ids
        of edges. A mapping of an interface output stays as it is, since `to_execution` gives it back.
    """
    nodes = []
    for at, node in enumerate(payload["nodes"]):
        place = {"x": _WIDTH * (at % _COLUMNS), "y": _HEIGHT * (at // _COLUMNS)}
        nodes.append({"position": place, **_renamed(node, _turned(_NODE))})
    taken = {edge.get("id") for edge in payload["edges"]}
    edges = []
    for at, edge in enumerate(payload["edges"]):
        made = _renamed(edge, _turned(_EDGE))
        if made.get("id") is None:
            made["id"] = _free(f"e{at}", taken)
        edges.append(made)
    found = {"viewport": {"x": 0, "y": 0, "zoom": 1}, **_renamed(payload, _turned(_WORKFLOW))}
    if not isinstance(found.get("name"), str) or not found["name"]:
        found["name"] = _name(payload)
    return {**found, "nodes": nodes, "edges": edges}


def _renamed(given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    made = set(names.values())
    found = {}
    for key, value in given.items():
        if key in names:
            key = names[key]
        elif key in made:
            continue
        if value is None and key in _OPTIONAL:
            continue
        found[key] = value
    return found


def _turned(names: Mapping[str, str]) -> dict[str, str]:
    return {theirs: ours for ours, theirs in names.items()}


def _free(wanted: str, taken: set[Any]) -> str:
    name, at = wanted, 1
    while name in taken:
        at += 1
        name = f"{wanted}-{at}"
    taken.add(name)
    return name


def _name(payload: Mapping[str, Any]) -> str:
    metadata = payload.get("metadata")
    name = metadata.get("workflowName") if isinstance(metadata, dict) else None
    if isinstance(name, str) and name:
        return name
    return payload.get("workflowId") or "workflow"
