"""The execution payload: a graph as it is submitted, in ComfyTavern's names, read from untrusted bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from innkeeper.bridge.codec import parse_json
from innkeeper.bridge.scan import DataBounds, MalformedError
from innkeeper.errors import UsageError
from innkeeper.plugins.nodes import MAX_SLOTS, InputDefinition
from innkeeper.plugins.tables import visible
from innkeeper.sandbox.limits import MIB

MAX_NODES = 10_000
MAX_EDGES = 100_000

PAYLOAD_BOUNDS = DataBounds(size=32 * MIB, depth=64, elements=2_000_000)
"""What a payload file may be: presets can be whole documents, and 100,000 edges are a million elements."""

_SHOWN_PROBLEMS = 20

# No control characters: ids are printed to terminals and logs.
Id = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,256}$")]
"""The id of a node or an edge, or a handle."""

Key = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,128}$")]
"""The key of a slot, of a field of the configuration, or of the workflow's interface."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, alias_generator=to_camel)


class ExecutionNode(_Part):
    """A node of the graph.

    Attributes:
        full_type: "namespace:type".
        inputs: presets, by input key (JSON values); an edge wins over a preset.
        config_values: the node's configuration (JSON values).
        input_connection_orders: per multi input, the ids of its edges in the order of its values.
    """

    id: Id
    full_type: Id
    inputs: dict[Key, Any] = Field(default_factory=dict, max_length=MAX_SLOTS)
    config_values: dict[Key, Any] = Field(default_factory=dict, max_length=MAX_SLOTS)
    bypassed: bool = False
    input_connection_orders: dict[Key, list[Id]] = Field(default_factory=dict, max_length=MAX_SLOTS)


class ExecutionEdge(_Part):
    """A connection from an output to an input. The target handle of a multi input may end in `__N`."""

    id: Id | None = None
    source_node_id: Id
    source_handle: Id
    target_node_id: Id
    target_handle: Id


class InterfaceSlot(InputDefinition):
    """A slot of the workflow's own interface. The value of an interface input is its `config["default"]`."""

    key: Key | None = None


class OutputMapping(_Part):
    """Where the value of an interface output comes from."""

    source_node_id: Id
    source_slot_key: Id


class WorkflowPayload(_Part):
    """A workflow as it is submitted. Fields that this host does not know survive.

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


def read_payload(data: bytes) -> WorkflowPayload:
    """Reads an execution payload from the bytes of a JSON file.

    Raises:
        UsageError: it is not JSON (the message gives line and column), not a payload (one line per problem, with its
            place), beyond a bound, or a file as an editor saves it.
    """
    try:
        # Editors on Windows put a byte order mark before UTF-8.
        value = parse_json(data.removeprefix(b"\xef\xbb\xbf"), PAYLOAD_BOUNDS)
    except MalformedError as error:
        raise UsageError(f"the workflow is not JSON that can be read: {error}") from None
    return payload_of(value)


def payload_of(value: Any) -> WorkflowPayload:
    """Reads an execution payload from plain data that somebody has bounded.

    Raises:
        UsageError: it is not a payload (one line per problem, with its place), or what an editor saves.
    """
    if not isinstance(value, dict):
        raise UsageError("the workflow is not a JSON object with 'nodes' and 'edges'")
    if _is_storage_file(value):
        raise UsageError(
            "this is a workflow as an editor stores it (nodes with 'type' and 'position', edges with 'source'); "
            "this version runs execution payloads only (nodes with 'fullType', edges with 'sourceNodeId')"
        )
    try:
        return WorkflowPayload.model_validate(value)
    except ValidationError as error:
        raise UsageError("\n".join(_explained(error))) from None


def _is_storage_file(value: Mapping[str, Any]) -> bool:
    nodes, edges = value.get("nodes"), value.get("edges")
    first_node = nodes[0] if isinstance(nodes, list) and nodes else None
    first_edge = edges[0] if isinstance(edges, list) and edges else None
    stored_node = (
        isinstance(first_node, dict) and "fullType" not in first_node and {"type", "position"} <= set(first_node)
    )
    stored_edge = isinstance(first_edge, dict) and "sourceNodeId" not in first_edge and "source" in first_edge
    return stored_node or stored_edge


def _explained(error: ValidationError) -> list[str]:
    problems = error.errors(include_url=False, include_context=False)
    lines = [f"the workflow's {_place(problem['loc'])}: {_what(problem)}" for problem in problems[:_SHOWN_PROBLEMS]]
    if len(problems) > _SHOWN_PROBLEMS:
        lines.append(f"and {len(problems) - _SHOWN_PROBLEMS:,} more problems in the workflow")
    return lines


def _place(location: tuple[int | str, ...]) -> str:
    place = ""
    for part in location:
        if part == "[key]":
            continue
        place += f"[{part}]" if isinstance(part, int) else f"{'.' if place else ''}{visible(part, 80)}"
    return place or "top level"


_WORDS = {
    "missing": "this field is missing",
    "string_type": "this must be text",
    "bool_type": "this must be true or false",
    "dict_type": "this must be an object",
    "list_type": "this must be an array",
    "model_type": "this must be an object",
    "model_attributes_type": "this must be an object",
    "int_type": "this must be an integer",
    "string_pattern_mismatch": "this must have 1 to 256 characters (keys 128), none of them a control character",
}


def _what(problem: Mapping[str, Any]) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    return _WORDS.get(problem["type"], message[:1].lower() + message[1:])
