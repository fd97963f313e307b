"""The engine's own nodes in a workflow: its interface, branches and loops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.plugins.nodes import MAX_SLOTS, InputDefinition, Slot
from innkeeper.workflow.checking.bypass import passed_values
from innkeeper.workflow.checking.graph import FOR_EACH, GROUP_INPUT, IF, MERGE, WHILE, GraphNode, Passed, Role
from innkeeper.workflow.checking.nodes import configured, presets_fit
from innkeeper.workflow.checking.own_nodes import (
    CONTINUE,
    INDEX,
    ITEM,
    ITEMS,
    MAX_ITERATIONS,
    MOST_PARALLEL,
    MOST_TURNS,
    OWN_NODES,
    PARALLEL,
)
from innkeeper.workflow.checking.placed import GroupNode, Placed, Template
from innkeeper.workflow.checking.policies import policy_of, with_error_output
from innkeeper.workflow.checking.problems import Problems, listed
from innkeeper.workflow.checking.values import compatible
from innkeeper.workflow.formats.payload import ExecutionNode

ANY_INPUT = InputDefinition.model_validate({"dataFlowType": "CONVERTIBLE_ANY"})

_INDEX = Slot.model_validate({"dataFlowType": "INTEGER"})
_BOOLEAN = Slot.model_validate({"dataFlowType": "BOOLEAN"})


def place_interface(node: ExecutionNode, template: Template, problems: Problems) -> GraphNode:
    """core:GroupInput or core:GroupOutput."""
    policy_of(node, problems)
    if node.bypassed:
        problems.add(f"{node.full_type} is the workflow's interface, which cannot be bypassed", node.id)
    if node.full_type == GROUP_INPUT:
        return GraphNode(node, "input", None, None, {}, template.inputs, {})
    declared = template.payload.interface_outputs
    inputs: Mapping[str, InputDefinition]
    if declared:
        inputs = {key: slot.model_copy(update={"required": False, "multi": False}) for key, slot in declared.items()}
    else:
        ends = [edge.target_handle for edge in template.payload.edges if edge.target_node_id == node.id]
        keys = list(dict.fromkeys(end for end in ends if end is not None))
        if len(keys) > MAX_SLOTS:
            # Each node that refers to this workflow looks at all of them.
            problems.add(f"{len(keys):,} interface outputs are connected, and at most {MAX_SLOTS} are taken", node.id)
        inputs = dict.fromkeys(keys[:MAX_SLOTS], ANY_INPUT)
    return GraphNode(node, "output", None, None, inputs, {}, {})


def place_branch(node: ExecutionNode, problems: Problems) -> GraphNode:
    """innkeeper:If or innkeeper:Merge."""
    definition = OWN_NODES[node.full_type]
    return _placed(node, definition.inputs, definition.outputs, {}, problems, {})


def place_group(node: ExecutionNode, inner: Template) -> Placed:
    """core:NodeGroup; bypassed, it is one node with the slots of its interface."""
    if not node.bypassed:
        return GroupNode(node, inner.inputs, inner.outputs, inner)
    if node.full_type not in inner.passed:
        inner.passed[node.full_type] = passed_values(None, inner.inputs, inner.outputs)
    passed = inner.passed[node.full_type]
    return GraphNode(node, "bypassed", None, None, inner.inputs, inner.outputs, {}, presets=node.inputs, bypass=passed)


def place_loop(node: ExecutionNode, body: Template, problems: Problems) -> GraphNode:
    """innkeeper:ForEach or innkeeper:While.

    Args:
        node: the loop.
        body: the workflow of one turn.
        problems: gets what is wrong.
    """
    for what, slots in (("input", body.inputs), ("output", body.outputs)):
        streams = [key for key, slot in slots.items() if slot.is_stream]
        if streams:
            problems.add(
                f"the workflow {body.id!r} cannot be a turn of a loop: it has streams as {what}s, {listed(streams)}",
                node.id,
            )
    inputs: Mapping[str, InputDefinition]
    outputs: Mapping[str, Slot]
    if node.full_type == FOR_EACH:
        inputs, outputs = _each_slots(node, body, problems)
    else:
        inputs, outputs = _while_slots(node, body, problems)
    return _placed(node, inputs, outputs, loop_config(node, problems), problems, body.passed)


def loop_config(node: ExecutionNode, problems: Problems) -> dict[str, Any]:
    """The configuration of a loop or a group, its bounds checked."""
    definition = OWN_NODES[node.full_type]
    config = configured(node, definition, definition.config_schema, problems)
    for key, most in ((MAX_ITERATIONS, MOST_TURNS), (PARALLEL, MOST_PARALLEL)):
        value = config.get(key)
        if key in definition.config_schema and isinstance(value, int | float) and not 1 <= value <= most:
            problems.add(f"this must be from 1 to {most:,}", node.id, f"configuration {key!r}")
    return config


def _placed(
    node: ExecutionNode,
    inputs: Mapping[str, InputDefinition],
    own: Mapping[str, Slot],
    config: Mapping[str, Any],
    problems: Problems,
    known: dict[str, Mapping[str, Passed]],
) -> GraphNode:
    policy = policy_of(node, problems)
    outputs = with_error_output(node, own, policy, problems)
    if node.bypassed:
        if node.full_type not in known:
            known[node.full_type] = passed_values(OWN_NODES[node.full_type], inputs, own)
        passed = known[node.full_type]
        return GraphNode(
            node, "bypassed", None, None, inputs, outputs, {}, presets=node.inputs, policy=policy, bypass=passed
        )
    presets_fit(node, inputs, set(), problems)
    placed = GraphNode(
        node, _ROLES[node.full_type], None, None, inputs, outputs, config, presets=node.inputs, policy=policy
    )
    placed.bound, placed.parallel = _count(config.get(MAX_ITERATIONS), 0), _count(config.get(PARALLEL), 1)
    return placed


_ROLES: Mapping[str, Role] = {IF: "if", MERGE: "merge", FOR_EACH: "for_each", WHILE: "while"}


def _count(value: object, otherwise: int) -> int:
    return int(value) if isinstance(value, int | float) else otherwise


def _each_slots(
    node: ExecutionNode, body: Template, problems: Problems
) -> tuple[Mapping[str, InputDefinition], Mapping[str, Slot]]:
    if ITEMS in body.inputs:
        problems.add(
            f"the workflow {body.id!r} has an interface input {ITEMS!r}, which is the loop's own: give it another name",
            node.id,
        )
    index = body.inputs.get(INDEX)
    if index is not None and not compatible(_INDEX, index):
        problems.add(
            f"the interface input {INDEX!r} of the workflow {body.id!r} is {index.data_flow_type}, and gets the number "
            f"of the turn, an INTEGER",
            node.id,
        )
    own = {key: slot for key, slot in body.inputs.items() if key not in (ITEM, INDEX, ITEMS)}
    if body.arrays is None:
        array = {"dataFlowType": "ARRAY"}
        body.arrays = {
            key: Slot.model_validate({**array, "displayName": slot.display_name}) for key, slot in body.outputs.items()
        }
    return {**OWN_NODES[FOR_EACH].inputs, **own}, body.arrays


def _while_slots(
    node: ExecutionNode, body: Template, problems: Problems
) -> tuple[Mapping[str, InputDefinition], Mapping[str, Slot]]:
    again = body.outputs.get(CONTINUE)
    if again is None:
        problems.add(
            f"the workflow {body.id!r} has no interface output {CONTINUE!r} to say whether there is a further turn",
            node.id,
        )
    elif not compatible(again, _BOOLEAN):
        problems.add(
            f"the interface output {CONTINUE!r} of the workflow {body.id!r} is {again.data_flow_type}, not BOOLEAN",
            node.id,
        )
    for key, slot in body.outputs.items():
        target = body.inputs.get(key)
        if target is not None and not compatible(slot, target):
            problems.add(
                f"the interface output {key!r} of the workflow {body.id!r} is {slot.data_flow_type}, and the input of "
                f"this name, which it becomes in the next turn, takes {target.data_flow_type}",
                node.id,
            )
    return body.inputs, body.outputs
