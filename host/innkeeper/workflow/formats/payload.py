"""The execution payload: a graph as it is submitted, in ComfyTavern's names, read from bytes of either form."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from innkeeper.errors import UsageError
from innkeeper.plugins.nodes import MAX_SLOTS
from innkeeper.workflow.formats.parts import (
    MAX_EDGES,
    MAX_NODES,
    PAYLOAD_BOUNDS,
    Extension,
    Id,
    InterfaceSlot,
    Key,
    Part,
    is_stored,
    parsed,
    validated,
)
from innkeeper.workflow.formats.stored import StoredWorkflow
from innkeeper.workflow.formats.translate import to_execution

__all__ = [
    "PAYLOAD_BOUNDS",
    "ExecutionEdge",
    "ExecutionNode",
    "InterfaceSlot",
    "OutputMapping",
    "WorkflowPayload",
    "payload_of",
    "read_payload",
]


class ExecutionNode(Part):
    """A node of the graph.

    Attributes:
        full_type: "namespace:type".
        inputs: presets, by input key (JSON values); an edge wins over a preset.
        config_values: the node's configuration (JSON values).
        bypassed: whether it is left out, and passes on what it can of its inputs.
        input_connection_orders: per multi input, the ids of its edges in the order of its values.
    """

    id: Id
    full_type: Id
    inputs: dict[Key, Any] = Field(default_factory=dict, max_length=MAX_SLOTS)
    config_values: dict[Key, Any] = Field(default_factory=dict, max_length=MAX_SLOTS)
    bypassed: bool = False
    input_connection_orders: dict[Key, list[Id]] = Field(default_factory=dict, max_length=MAX_SLOTS)


class ExecutionEdge(Part):
    """A connection from an output to an input. The target handle of a multi input may end in `__N`; a handle that is
    null means the only slot that there is."""

    id: Id | None = None
    source_node_id: Id
    source_handle: Id | None
    target_node_id: Id
    target_handle: Id | None


class OutputMapping(Part):
    """Where the value of an interface output comes from."""

    source_node_id: Id
    source_slot_key: Id


class WorkflowPayload(Part):
    """A workflow as it is submitted. Fields that this host does not know survive.

    Attributes:
        metadata: what a client says of the run; `isPreviewRun` mutes nodes that are unsafe in a preview.
        innkeeper: workflows that it brings for its groups and loops.

    Example:
        >>> payload = read_payload(b'{"nodes": [{"id": "a", "fullType": "core:TextMerge"}], "edges": []}')
        >>> payload.nodes[0].full_type
        'core:TextMerge'
    """

    workflow_id: Id | None = None
    nodes: list[ExecutionNode] = Field(max_length=MAX_NODES)
    edges: list[ExecutionEdge] = Field(max_length=MAX_EDGES)
    interface_inputs: dict[Key, InterfaceSlot] = Field(default_factory=dict, max_length=MAX_SLOTS)
    interface_outputs: dict[Key, InterfaceSlot] = Field(default_factory=dict, max_length=MAX_SLOTS)
    output_interface_mappings: dict[Key, OutputMapping] = Field(default_factory=dict, max_length=MAX_SLOTS)
    metadata: Any = None
    innkeeper: Extension | None = None

    @property
    def is_preview(self) -> bool:
        """Whether it is the run of a live preview (bool)."""
        return isinstance(self.metadata, dict) and self.metadata.get("isPreviewRun") is True


def read_payload(data: bytes) -> WorkflowPayload:
    """Reads a workflow in either form from the bytes of a JSON file, as an execution payload.

    Raises:
        UsageError: it is not JSON (the message gives line and column), not a workflow (one line per problem, with its
            place), or beyond a bound.
    """
    return payload_of(parsed(data))


def payload_of(value: Any) -> WorkflowPayload:
    """Reads a workflow in either form from plain data that somebody has bounded, as an execution payload.

    Raises:
        UsageError: it is not a workflow (one line per problem, with its place).
    """
    if not isinstance(value, dict):
        raise UsageError("the workflow is not a JSON object with 'nodes' and 'edges'")
    if is_stored(value):
        # Validated as what it is, so that problems name places of the file.
        validated(StoredWorkflow, value)
        value = to_execution(value)
    return validated(WorkflowPayload, value)
