"""From a payload to a graph that can run, or to everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.errors import UsageError
from innkeeper.plugins.nodes import InputDefinition, NodeDefinition, Slot
from innkeeper.workflow.checking.connect import connect
from innkeeper.workflow.checking.graph import (
    ENGINE_NODES,
    GROUP_INPUT,
    GROUP_OUTPUT,
    NODE_GROUP,
    Constant,
    Graph,
    GraphNode,
    Origin,
    Source,
    cycles,
    topological_order,
)
from innkeeper.workflow.checking.problems import Problems, WorkflowError
from innkeeper.workflow.checking.values import misfit
from innkeeper.workflow.formats.payload import ExecutionNode, WorkflowPayload
from innkeeper.workflow.host import Hooked, NodeHost, NodePlugin

_ANY_INPUT = InputDefinition.model_validate({"dataFlowType": "CONVERTIBLE_ANY"})


def check_workflow(payload: WorkflowPayload, host: NodeHost) -> Graph:
    """Resolves every name of a workflow.

    Raises:
        WorkflowError: all that is wrong with it, one line each with node and slot.
    """
    check = _Check(payload, host)
    graph = check.graph()
    if check.problems.count:
        raise WorkflowError(check.problems)
    return graph


class _Check:
    def __init__(self, payload: WorkflowPayload, host: NodeHost) -> None:
        self.payload = payload
        self.host = host
        self.problems = Problems()
        self.nodes: dict[str, GraphNode] = {}
        # Nodes that are there, but whose type could not be resolved: nothing more is said about their slots.
        self.unresolved: set[str] = set()
        self.engine_types: set[str] = set()
        self.types: dict[str, tuple[NodePlugin, NodeDefinition] | str] = {}

    def problem(self, text: str, node: str | None = None, slot: str | None = None) -> None:
        self.problems.add(text, node, slot)

    def graph(self) -> Graph:
        values = self._interface_values()
        for node in self.payload.nodes:
            self._add(node)
        connect(self.payload.edges, self.nodes, self.unresolved, self.problems)
        for graph_node in self.nodes.values():
            self._inputs_are_there(graph_node, values)
        outputs = self._interface_outputs()
        order = self._order()
        hooks = self.host.hooks if isinstance(self.host, Hooked) else None
        return Graph({node: self.nodes[node] for node in order}, values, outputs, hooks=hooks)

    def _interface_values(self) -> dict[str, Any]:
        values = {}
        for key, slot in self.payload.interface_inputs.items():
            value = slot.config.get("default")
            if value is None:
                if slot.required:
                    self.problem(f"the interface input {key!r} needs a value; give it with --input {key}=VALUE")
                continue
            wrong = misfit(value, slot)
            if wrong is not None:
                self.problem(f"the interface input {key!r} has a value that does not fit: {wrong}")
            values[key] = value
        return values

    def _add(self, node: ExecutionNode) -> None:
        if node.id in self.nodes or node.id in self.unresolved:
            self.problem("there is more than one node with this id", node.id)
            return
        if node.bypassed:
            self.problem("the node is bypassed, which this version does not run; remove it or its 'bypassed'", node.id)
        if node.full_type in ENGINE_NODES:
            self._add_engine_node(node)
            return
        if node.full_type == NODE_GROUP:
            self.problem(f"{NODE_GROUP} is a group of nodes, which this version does not run", node.id)
            self.unresolved.add(node.id)
            return
        resolved = self._resolve(node.full_type)
        if isinstance(resolved, str):
            self.problems.types_missing = True
            self.problem(resolved, node.id)
            self.unresolved.add(node.id)
            return
        plugin, definition = resolved
        try:
            mode = definition.mode(node.config_values)
            inputs, outputs = definition.slots(node.config_values)
        except UsageError as error:
            self.problem(error.message, node.id)
            self.unresolved.add(node.id)
            return
        schema = definition.config_schema
        if mode is not None and mode.config_schema is not None:
            schema = {**schema, **mode.config_schema}
        config = self._config(node, definition, schema)
        if mode is not None and definition.mode_config_key is not None:
            config[definition.mode_config_key] = mode.id
        self._presets_fit(node, definition, inputs)
        self.nodes[node.id] = GraphNode(
            node, "plugin", definition, plugin, inputs, outputs, config, {}, {}, node.inputs, plugin.manifest
        )

    def _add_engine_node(self, node: ExecutionNode) -> None:
        if node.full_type in self.engine_types:
            self.problem(f"a workflow has one {node.full_type}, and there is another before this one", node.id)
            self.unresolved.add(node.id)
            return
        self.engine_types.add(node.full_type)
        inputs: Mapping[str, InputDefinition] = {}
        outputs: Mapping[str, Slot] = {}
        if node.full_type == GROUP_INPUT:
            outputs = self.payload.interface_inputs
        elif self.payload.interface_outputs:
            inputs = {
                key: slot.model_copy(update={"required": False, "multi": False})
                for key, slot in self.payload.interface_outputs.items()
            }
        else:
            ends = [edge.target_handle for edge in self.payload.edges if edge.target_node_id == node.id]
            inputs = dict.fromkeys(ends, _ANY_INPUT)
        self.nodes[node.id] = GraphNode(
            node, "input" if node.full_type == GROUP_INPUT else "output", None, None, inputs, outputs, {}
        )

    def _resolve(self, full_type: str) -> tuple[NodePlugin, NodeDefinition] | str:
        if full_type not in self.types:
            if self.problems.enough:
                # A host looks for what was meant, and ten thousand nodes can have ten thousand unknown types.
                return "its type was not looked up, since so much is wrong before it"
            try:
                self.types[full_type] = self.host.node(full_type)
            except UsageError as error:
                self.types[full_type] = error.message
        return self.types[full_type]

    def _config(
        self, node: ExecutionNode, definition: NodeDefinition, schema: Mapping[str, InputDefinition]
    ) -> dict[str, Any]:
        defaults = {key: field.config["default"] for key, field in schema.items() if "default" in field.config}
        config = {**defaults, **definition.config_values, **node.config_values}
        for key, field in schema.items():
            if config.get(key) is None:
                if field.required:
                    self.problem("a value is required", node.id, f"configuration {key!r}")
                continue
            wrong = misfit(config[key], field)
            if wrong is not None:
                self.problem(wrong, node.id, f"configuration {key!r}")
        return config

    def _presets_fit(
        self, node: ExecutionNode, definition: NodeDefinition, inputs: Mapping[str, InputDefinition]
    ) -> None:
        for key, value in node.inputs.items():
            if key not in inputs:
                # Editors keep the presets of a node's other modes.
                if not any(key in (mode.inputs or {}) for mode in definition.modes.values()) and (
                    key not in definition.inputs
                ):
                    self.problem(
                        f"there is no such input; {self.problems.known(list(inputs), key)}", node.id, f"input {key!r}"
                    )
                continue
            slot = inputs[key]
            values = value if slot.multi and isinstance(value, list) and slot.data_flow_type != "ARRAY" else [value]
            wrong = next((text for each in values if (text := misfit(each, slot)) is not None), None)
            if wrong is not None:
                self.problem(wrong, node.id, f"input {key!r}")

    def _inputs_are_there(self, node: GraphNode, values: Mapping[str, Any]) -> None:
        for key, slot in node.inputs.items():
            if not slot.required or node.presets.get(key) is not None or slot.config.get("default") is not None:
                continue
            sources = node.sources.get(key, [])
            empty = [
                source.slot
                for source in sources
                if isinstance(source, Source)
                if self.nodes[source.node].full_type == GROUP_INPUT and source.slot not in values
            ]
            if not sources:
                self.problem("the input is required: connect it or give it a value", node.id, f"input {key!r}")
            elif len(empty) == len(sources) and not any(self.payload.interface_inputs[key].required for key in empty):
                # One that is required itself has been named already.
                self.problem(
                    f"the input is required, and the interface input {empty[0]!r} has no value; give it with "
                    f"--input {empty[0]}=VALUE",
                    node.id,
                    f"input {key!r}",
                )

    def _interface_outputs(self) -> dict[str, Origin]:
        outputs: dict[str, Origin] = {}
        for node in self.nodes.values():
            if node.full_type == GROUP_OUTPUT:
                outputs |= {key: sources[0] for key, sources in node.sources.items()}
        for key, mapping in self.payload.output_interface_mappings.items():
            what = f"the interface output {key!r}"
            source = self.nodes.get(mapping.source_node_id)
            if source is None:
                if mapping.source_node_id not in self.unresolved:
                    self.problem(f"{what} comes from node {mapping.source_node_id!r}, which does not exist")
                continue
            if mapping.source_slot_key not in source.outputs:
                self.problem(
                    f"{what} comes from an output {mapping.source_slot_key!r} of node {source.id!r}, which does not "
                    f"exist; {self.problems.known(list(source.outputs), mapping.source_slot_key)}"
                )
                continue
            if source.outputs[mapping.source_slot_key].is_stream:
                self.problem(f"{what} comes from a stream, which this version does not run")
            outputs[key] = Source(source.id, mapping.source_slot_key)
        declared = self.payload.interface_outputs
        for key in declared:
            if key not in outputs and not self.unresolved and key not in self.payload.output_interface_mappings:
                self.problem(f"the interface output {key!r} has no source: map it or connect it")
        first = {key: outputs[key] for key in declared if key in outputs}
        return {**first, **outputs}

    def _order(self) -> list[str]:
        successors: dict[str, set[str]] = {}
        for node in self.nodes.values():
            for sources in node.sources.values():
                for source in sources:
                    if isinstance(source, Constant):
                        continue
                    successors.setdefault(source.node, set()).add(node.id)
        ids = list(self.nodes)
        order = topological_order(ids, successors)
        if len(order) < len(ids):
            left = set(ids).difference(order)
            inner = {node: targets & left for node, targets in successors.items() if node in left}
            for cycle in cycles([node for node in ids if node in left], inner):
                shown = [repr(node) for node in cycle]
                if len(shown) > 12:
                    shown = [*shown[:11], f"{len(shown) - 12} more", shown[-1]]
                self.problem(f"the nodes form a cycle: {' -> '.join([*shown, shown[0]])}")
        return order
