"""A preview of what changed nodes change: they and what lies behind them, with the last results of all others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from innkeeper.errors import UsageError
from innkeeper.plugins.nodes import MAX_SLOTS, InputDefinition, NodeDefinition, Slot
from innkeeper.workflow.checking.connect import key_of
from innkeeper.workflow.checking.graph import GROUP_INPUT, GROUP_OUTPUT
from innkeeper.workflow.checking.own_nodes import OWN_NODES
from innkeeper.workflow.checking.values import misfit
from innkeeper.workflow.formats.payload import ExecutionEdge, ExecutionNode, InterfaceSlot, WorkflowPayload
from innkeeper.workflow.formats.preview import part_of, reached
from innkeeper.workflow.formats.references import REFERRING
from innkeeper.workflow.host import NodeHost

Results = Mapping[str, Mapping[str, Any]]
"""Node id to output to value (JSON data; bytes as base64 text)."""

_KEY = 128
"""Characters of a key of the interface."""


def changed_preview(
    payload: WorkflowPayload, host: NodeHost, changed: Collection[str], results: Results
) -> WorkflowPayload:
    """What runs again when some nodes have changed, as a payload that runs by itself.

    Nodes that are unsafe in a preview are left out, and so is all that lies behind them. What the others need of nodes
    that do not run again is given as presets, or, where a preset would not do (one of several values, a value that
    has to be converted), through the interface. A stream has no last result: the node that it comes from runs again.

    Args:
        payload: the workflow; it is not changed.
        host: has the nodes.
        changed: ids of nodes; those that are not there are passed over.
        results: of the last run.

    Raises:
        UsageError: more values than an interface has room for would have to go through it.
    """
    return _Preview(payload, host, results).of(changed)


class _Preview:
    def __init__(self, payload: WorkflowPayload, host: NodeHost, results: Results) -> None:
        self._payload = payload
        self._host = host
        self._results = results
        self._nodes = {node.id: node for node in payload.nodes}
        self._types: dict[str, NodeDefinition | None] = {}
        self._behind: dict[str, set[str]] = {}
        for edge in payload.edges:
            self._behind.setdefault(edge.source_node_id, set()).add(edge.target_node_id)

    def of(self, changed: Collection[str]) -> WorkflowPayload:
        affected = reached([each for each in changed if each in self._nodes], self._behind)
        kept = affected - reached([each for each in affected if self._unsafe(each)], self._behind)
        kept = self._with_streams(kept)
        # The interface's inputs are there without running anything.
        interface = {id_ for id_, node in self._nodes.items() if node.full_type == GROUP_INPUT}
        part = part_of(self._payload, kept | interface)
        return self._given(part, kept | interface)

    def _with_streams(self, kept: set[str]) -> set[str]:
        before: dict[str, set[str]] = {}
        for edge in self._payload.edges:
            if self._is_stream(edge):
                before.setdefault(edge.target_node_id, set()).add(edge.source_node_id)
        while True:
            wide = reached(kept, before)
            unsafe = [each for each in wide - kept if self._unsafe(each)]
            if not unsafe:
                return wide
            kept = kept - reached(unsafe, self._behind)

    def _given(self, part: WorkflowPayload, kept: set[str]) -> WorkflowPayload:
        """The part with the values that come from outside."""
        presets: dict[str, dict[str, Any]] = {}
        slots: dict[str, InterfaceSlot] = dict(part.interface_inputs)
        edges: list[ExecutionEdge] = []
        source = next((node for node in part.nodes if node.full_type == GROUP_INPUT), None)
        nodes = list(part.nodes)
        inside = {id(edge) for edge in part.edges}
        for edge in self._payload.edges:
            if id(edge) in inside:
                edges.append(edge)
                continue
            if edge.target_node_id not in kept or edge.source_node_id in kept:
                continue
            target = self._nodes[edge.target_node_id]
            value = self._last(edge)
            if value is None or target.full_type == GROUP_OUTPUT:
                continue
            found = self._input(target, edge.target_handle)
            if found is not None and not found[1].multi and misfit(value, found[1]) is None:
                presets.setdefault(target.id, {})[found[0]] = value
                continue
            if source is None:
                source = ExecutionNode.model_validate({"id": self._free_id(), "fullType": GROUP_INPUT})
                nodes.append(source)
            key = _free(f"{edge.source_node_id}.{edge.source_handle}", slots)
            slots[key] = self._slot(edge, value)
            edges.append(edge.model_copy(update={"source_node_id": source.id, "source_handle": key}))
        if len(slots) > MAX_SLOTS:
            raise UsageError(
                f"the preview needs {len(slots):,} values through its interface, which has room for {MAX_SLOTS}"
            )
        given = [
            node.model_copy(update={"inputs": {**node.inputs, **presets[node.id]}}) if node.id in presets else node
            for node in nodes
        ]
        return part.model_copy(update={"nodes": given, "edges": edges, "interface_inputs": slots})

    def _last(self, edge: ExecutionEdge) -> Any:
        outputs = self._results.get(edge.source_node_id, {})
        if edge.source_handle is None:
            return next(iter(outputs.values())) if len(outputs) == 1 else None
        return outputs.get(edge.source_handle)

    def _slot(self, edge: ExecutionEdge, value: Any) -> InterfaceSlot:
        # Bytes are text in JSON, and only the type tells; all else may go anywhere, as what was checked before.
        output = self._output(edge)
        binary = output is not None and output.data_flow_type == "BINARY"
        return InterfaceSlot.model_validate(
            {"dataFlowType": "BINARY" if binary else "WILDCARD", "config": {"default": value}}
        )

    def _definition(self, node: ExecutionNode) -> NodeDefinition | None:
        type_ = node.full_type
        if type_ not in self._types:
            try:
                self._types[type_] = OWN_NODES[type_] if type_ in OWN_NODES else self._host.node(type_)[1]
            except UsageError:
                # The check of the part names it.
                self._types[type_] = None
        return self._types[type_]

    def _unsafe(self, id_: str) -> bool:
        node = self._nodes.get(id_)
        definition = self._definition(node) if node is not None else None
        return definition is not None and definition.is_preview_unsafe

    def _input(self, node: ExecutionNode, handle: str | None) -> tuple[str, InputDefinition] | None:
        """The input at a handle; None where the node's slots are those of another workflow, or it has none such."""
        inputs = self._slots(node)[0]
        found = key_of(handle, inputs)
        return None if found is None else (found[0], inputs[found[0]])

    def _output(self, edge: ExecutionEdge) -> Slot | None:
        node = self._nodes.get(edge.source_node_id)
        if node is None:
            return None
        outputs = self._slots(node)[1]
        if edge.source_handle is None:
            return next(iter(outputs.values())) if len(outputs) == 1 else None
        return outputs.get(edge.source_handle)

    def _slots(self, node: ExecutionNode) -> tuple[Mapping[str, InputDefinition], Mapping[str, Slot]]:
        if node.full_type == GROUP_INPUT:
            return {}, self._payload.interface_inputs
        definition = self._definition(node) if node.full_type not in REFERRING else None
        try:
            return definition.slots(node.config_values) if definition is not None else ({}, {})
        except UsageError:
            return {}, {}

    def _is_stream(self, edge: ExecutionEdge) -> bool:
        slot = self._output(edge)
        return slot is not None and slot.is_stream

    def _free_id(self) -> str:
        return _free("preview", self._nodes)


def _free(wanted: str, taken: Collection[str]) -> str:
    name, at = wanted[:_KEY], 1
    while name in taken:
        at += 1
        name = f"{wanted[: _KEY - 8]}~{at}"
    return name
