"""Nodes of plugins: their type, mode, configuration and presets against what the plugin says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.errors import UsageError
from innkeeper.plugins.nodes import InputDefinition, NodeDefinition, NodeModeDefinition, Slot
from innkeeper.workflow.checking.bypass import passed_values
from innkeeper.workflow.checking.graph import GraphNode, Passed
from innkeeper.workflow.checking.policies import no_retry_of_streams, policy_of, with_error_output
from innkeeper.workflow.checking.problems import Problems
from innkeeper.workflow.checking.values import misfit
from innkeeper.workflow.formats.payload import ExecutionNode
from innkeeper.workflow.formats.policy import KEY
from innkeeper.workflow.host import NodeHost, NodePlugin


class PluginNodes:
    """Places nodes of plugins, asking a host once for each type."""

    def __init__(self, host: NodeHost, problems: Problems, *, preview: bool) -> None:
        """Args:
        host: has the plugins.
        problems: gets what is wrong.
        preview: whether nodes that are unsafe in a preview are muted.
        """
        self._host = host
        self._problems = problems
        self._preview = preview
        self._types: dict[str, tuple[NodePlugin, NodeDefinition] | str] = {}
        self._passed: dict[tuple[str, str | None], Mapping[str, Passed]] = {}

    def place(self, node: ExecutionNode) -> GraphNode | None:
        """A node with all but its edges.

        Returns:
            None where its slots cannot be known, which is a problem by then.
        """
        resolved = self._resolve(node.full_type)
        if isinstance(resolved, str):
            self._problems.types_missing = True
            self._problems.add(resolved, node.id)
            return None
        plugin, definition = resolved
        try:
            mode = definition.mode(node.config_values)
            inputs, own = definition.slots(node.config_values)
        except UsageError as error:
            self._problems.add(error.message, node.id)
            return None
        policy = policy_of(node, self._problems)
        outputs = with_error_output(node, own, policy, self._problems)
        muted = self._preview and definition.is_preview_unsafe
        if muted:
            # Told by the definition, so that its streams end, too.
            definition = definition.model_copy(update={"bypass_behavior": "mute"})
        if node.bypassed or muted:
            passed = {} if muted else self._passed_values(definition, mode, inputs, own)
            return GraphNode(
                node,
                "bypassed",
                definition,
                None,
                inputs,
                outputs,
                {},
                presets=node.inputs,
                policy=policy,
                bypass=passed,
            )
        if policy.retry is not None:
            no_retry_of_streams(node, [*inputs.values(), *own.values()], self._problems)
        schema = definition.config_schema
        if mode is not None and mode.config_schema is not None:
            schema = {**schema, **mode.config_schema}
        config = configured(node, definition, schema, self._problems)
        if mode is not None and definition.mode_config_key is not None:
            config[definition.mode_config_key] = mode.id
        others: set[str] = set()
        if not node.inputs.keys() <= inputs.keys():
            others = {
                key for other in definition.modes.values() for key in other.inputs or {}
            } | definition.inputs.keys()
        presets_fit(node, inputs, others, self._problems)
        return GraphNode(
            node,
            "plugin",
            definition,
            plugin,
            inputs,
            outputs,
            config,
            presets=node.inputs,
            manifest=plugin.manifest,
            policy=policy,
        )

    def is_ui_node(self, full_type: str) -> bool:
        """Whether nodes of a type are there for the editor alone (bool), such as a comment."""
        found = self._resolve(full_type)
        return isinstance(found, tuple) and found[1].is_ui_node

    def _passed_values(
        self,
        definition: NodeDefinition,
        mode: NodeModeDefinition | None,
        inputs: Mapping[str, InputDefinition],
        outputs: Mapping[str, Slot],
    ) -> Mapping[str, Passed]:
        # Once for each type and mode: a node with as many slots as there may be takes tens of milliseconds.
        kind = definition.full_type, None if mode is None else mode.id
        if kind not in self._passed:
            self._passed[kind] = passed_values(definition, inputs, outputs)
        return self._passed[kind]

    def _resolve(self, full_type: str) -> tuple[NodePlugin, NodeDefinition] | str:
        if full_type not in self._types:
            if self._problems.enough:
                # A host looks for what was meant, and ten thousand nodes can have ten thousand unknown types.
                return "its type was not looked up, since so much is wrong before it"
            try:
                self._types[full_type] = self._host.node(full_type)
            except UsageError as error:
                self._types[full_type] = error.message
        return self._types[full_type]


def configured(
    node: ExecutionNode, definition: NodeDefinition, schema: Mapping[str, InputDefinition], problems: Problems
) -> dict[str, Any]:
    """A node's configuration with the defaults filled in, without what is for the engine."""
    defaults = {key: field.config["default"] for key, field in schema.items() if "default" in field.config}
    config = {**defaults, **definition.config_values, **node.config_values}
    config.pop(KEY, None)
    for key, field in schema.items():
        if config.get(key) is None:
            if field.required:
                problems.add("a value is required", node.id, f"configuration {key!r}")
            continue
        wrong = misfit(config[key], field)
        if wrong is not None:
            problems.add(wrong, node.id, f"configuration {key!r}")
    return config


def presets_fit(
    node: ExecutionNode, inputs: Mapping[str, InputDefinition], others: set[str], problems: Problems
) -> None:
    """Says which presets fit no input.

    Args:
        node: has the presets.
        inputs: the inputs in effect.
        others: keys of inputs that the node has in another mode: editors keep presets of those.
        problems: gets what is wrong.
    """
    for key, value in node.inputs.items():
        if key not in inputs:
            if key not in others:
                problems.add(f"there is no such input; {problems.known(list(inputs), key)}", node.id, f"input {key!r}")
            continue
        slot = inputs[key]
        values = value if slot.multi and isinstance(value, list) and slot.data_flow_type != "ARRAY" else [value]
        wrong = next((text for each in values if (text := misfit(each, slot)) is not None), None)
        if wrong is not None:
            problems.add(wrong, node.id, f"input {key!r}")
