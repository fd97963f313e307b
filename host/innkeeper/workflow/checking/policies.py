"""What an author wants of the engine for a node, read and checked against what the node is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from innkeeper.plugins.nodes import Slot
from innkeeper.workflow.checking.graph import (
    ERROR_OUTPUT,
    FOR_EACH,
    GROUP_INPUT,
    GROUP_OUTPUT,
    IF,
    MERGE,
    NODE_GROUP,
    WHILE,
)
from innkeeper.workflow.checking.problems import Problems
from innkeeper.workflow.formats.parts import place_of, what_is_wrong
from innkeeper.workflow.formats.payload import ExecutionNode
from innkeeper.workflow.formats.policy import KEY, NodePolicy

_SHOWN = 20

_NONE = NodePolicy()

_WITHOUT = {
    GROUP_INPUT: ("retry", "timeout", "error_output", "after_crash"),
    GROUP_OUTPUT: ("retry", "timeout", "error_output", "after_crash"),
    NODE_GROUP: ("retry", "timeout", "error_output", "after_crash"),
    IF: ("retry", "timeout", "after_crash"),
    MERGE: ("retry", "timeout", "after_crash"),
    FOR_EACH: ("retry", "after_crash"),
    WHILE: ("retry", "after_crash"),
}
"""What the engine's own nodes cannot have."""

_NAMES = {"retry": "retry", "timeout": "timeout", "error_output": "errorOutput", "after_crash": "afterCrash"}


def policy_of(node: ExecutionNode, problems: Problems) -> NodePolicy:
    """The policy of a node; what is wrong with it becomes problems, and nothing of it counts then."""
    given = node.config_values.get(KEY)
    if given is None:
        return _NONE
    if not isinstance(given, dict):
        problems.add("this must be an object", node.id, _place(()))
        return _NONE
    try:
        # Strictly as the schema has it: names of Python's are no names of the format.
        policy = NodePolicy.model_validate(given, by_alias=True, by_name=False)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        for each in found[:_SHOWN]:
            text = "there is no such field" if each["type"] == "extra_forbidden" else what_is_wrong(each)
            problems.add(text, node.id, _place(each["loc"]))
        if len(found) > _SHOWN:
            problems.add(f"and {len(found) - _SHOWN:,} more problems with it", node.id, _place(()))
        return _NONE
    for field in _WITHOUT.get(node.full_type, ()):
        if getattr(policy, field) != getattr(_NONE, field):
            text = f"{node.full_type} takes no {_NAMES[field]}"
            if node.full_type == NODE_GROUP:
                text += ": give it to the nodes of the group"
            problems.add(text, node.id, _place((_NAMES[field],)))
    return policy


def with_error_output(
    node: ExecutionNode, outputs: Mapping[str, Slot], policy: NodePolicy, problems: Problems
) -> Mapping[str, Slot]:
    """A node's outputs, with the one for errors where its policy has it."""
    if not policy.error_output:
        return outputs
    if ERROR_OUTPUT in outputs:
        text = f"the node has an output {ERROR_OUTPUT!r} of its own, so it cannot have the one for errors"
        problems.add(text, node.id, _place(("errorOutput",)))
    return {**outputs, ERROR_OUTPUT: _ERROR_SLOT}


def no_retry_of_streams(node: ExecutionNode, slots: list[Slot], problems: Problems) -> None:
    """A call that streams cannot be made again, since others have read what it wrote."""
    if any(slot.is_stream for slot in slots):
        problems.add("a node with streams cannot be called again", node.id, _place(("retry",)))


def _place(location: tuple[Any, ...]) -> str:
    inner = place_of(location) if location else ""
    return f"configuration '{KEY}{'.' if inner and not inner.startswith('[') else ''}{inner}'"


_ERROR_SLOT = Slot.model_validate({"displayName": "Error", "dataFlowType": "OBJECT"})
