"""A part of a workflow as a payload that runs by itself: what one output needs, or some of the nodes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from innkeeper.errors import UsageError
from innkeeper.plugins.tables import shown
from innkeeper.workflow.formats.payload import OutputMapping, WorkflowPayload
from innkeeper.workflow.formats.references import GROUP_INPUT

_KEY = 128
"""Characters of a key of the interface."""


def target_preview(payload: WorkflowPayload, node: str, slot: str) -> WorkflowPayload:
    """What one output needs.

    Args:
        payload: the workflow; it is not changed.
        node: id of the node (`previewTarget.nodeId`).
        slot: key of its output (`previewTarget.slotKey`); it becomes the only interface output.

    Raises:
        UsageError: there is no such node.
    """
    if all(each.id != node for each in payload.nodes):
        raise UsageError(f"the preview is of node {shown(node)}, and there is no such node")
    before: dict[str, set[str]] = {}
    for edge in payload.edges:
        before.setdefault(edge.target_node_id, set()).add(edge.source_node_id)
    mapping = OutputMapping.model_validate({"sourceNodeId": node, "sourceSlotKey": slot})
    part = part_of(payload, reached([node], before))
    return part.model_copy(update={"interface_outputs": {}, "output_interface_mappings": {slot[:_KEY]: mapping}})


def reached(first: Collection[str], ways: Mapping[str, Collection[str]]) -> set[str]:
    """Some nodes and all that ways lead to from them, by id."""
    found = set(first)
    ahead = list(found)
    while ahead:
        new = set(ways.get(ahead.pop(), ())) - found
        found |= new
        ahead += new
    return found


def part_of(payload: WorkflowPayload, kept: Collection[str]) -> WorkflowPayload:
    """Some of the nodes, the edges between them, and what of the interface they have to do with. It is marked as a
    preview (`metadata.isPreviewRun`)."""
    nodes = [node for node in payload.nodes if node.id in kept]
    edges = [edge for edge in payload.edges if edge.source_node_id in kept and edge.target_node_id in kept]
    inputs = {node.id for node in nodes if node.full_type == GROUP_INPUT}
    used = {edge.source_handle for edge in edges if edge.source_node_id in inputs}
    ends = {edge.target_handle for edge in edges}
    mappings = {
        key: mapping for key, mapping in payload.output_interface_mappings.items() if mapping.source_node_id in kept
    }
    metadata: dict[str, Any] = dict(payload.metadata) if isinstance(payload.metadata, dict) else {}
    return payload.model_copy(
        update={
            "nodes": nodes,
            "edges": edges,
            "interface_inputs": {
                key: slot for key, slot in payload.interface_inputs.items() if key in used or None in used
            },
            "interface_outputs": {
                key: slot
                for key, slot in payload.interface_outputs.items()
                if key in mappings or key in ends or None in ends
            },
            "output_interface_mappings": mappings,
            "metadata": {**metadata, "isPreviewRun": True},
        }
    )
