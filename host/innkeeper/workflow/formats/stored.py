"""The form in which an editor stores a workflow (ComfyTavern's WorkflowObject)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from innkeeper.plugins.nodes import MAX_SLOTS
from innkeeper.workflow.formats.parts import MAX_EDGES, MAX_NODES, Extension, Id, InterfaceSlot, Key, Part

# Fields that only an editor reads (positions, sizes, labels) are not modelled: whatever is in them survives.


class StoredNode(Part):
    """A node of the graph.

    Attributes:
        type: "namespace:type".
        data: what the editor keeps with it; `data.bypassed` counts where `bypassed` is not given.
        input_values: presets, by input key (JSON values).
        config_values: the node's configuration (JSON values).
        input_connection_orders: per multi input, the ids of its edges in the order of its values.
    """

    id: Id
    type: Id
    data: dict[str, Any] | None = None
    input_values: dict[Key, Any] | None = Field(default=None, max_length=MAX_SLOTS)
    config_values: dict[Key, Any] | None = Field(default=None, max_length=MAX_SLOTS)
    bypassed: bool | None = None
    input_connection_orders: dict[Key, list[Id]] | None = Field(default=None, max_length=MAX_SLOTS)


class StoredEdge(Part):
    """A connection from an output to an input. A handle that is null means the only slot that there is."""

    id: Id | None = None
    source: Id
    target: Id
    source_handle: Id | None = None
    target_handle: Id | None = None


class PreviewTarget(Part):
    """The output that an editor wants to see."""

    node_id: Id
    slot_key: Id


class StoredWorkflow(Part):
    """A workflow as an editor stores it.

    Example:
        >>> stored = StoredWorkflow.model_validate({"name": "n", "nodes": [{"id": "a", "type": "x:y"}], "edges": []})
        >>> stored.nodes[0].type
        'x:y'
    """

    id: Id | None = None
    name: str | None = None
    nodes: list[StoredNode] = Field(max_length=MAX_NODES)
    edges: list[StoredEdge] = Field(max_length=MAX_EDGES)
    interface_inputs: dict[Key, InterfaceSlot] | None = Field(default=None, max_length=MAX_SLOTS)
    interface_outputs: dict[Key, InterfaceSlot] | None = Field(default=None, max_length=MAX_SLOTS)
    preview_target: PreviewTarget | None = None
    innkeeper: Extension | None = None
