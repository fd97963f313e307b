"""The types of nodes that have to do with other workflows: groups and loops, which refer to one, and its interface."""

from __future__ import annotations

import re

from innkeeper.workflow.formats.payload import ExecutionNode, WorkflowPayload

GROUP_INPUT = "core:GroupInput"
GROUP_OUTPUT = "core:GroupOutput"
NODE_GROUP = "core:NodeGroup"
FOR_EACH = "innkeeper:ForEach"
WHILE = "innkeeper:While"

REFERRING = frozenset({NODE_GROUP, FOR_EACH, WHILE})
"""Types of nodes that have `configValues.referencedWorkflowId`."""

REFERENCE = "referencedWorkflowId"

_ID = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,256}")


def reference(node: ExecutionNode) -> str | None:
    """The id of the workflow that a node refers to, or None: it is of another type, or names none that an id
    can be."""
    found = node.config_values.get(REFERENCE) if node.full_type in REFERRING else None
    return found if isinstance(found, str) and _ID.fullmatch(found) else None


def references(payload: WorkflowPayload) -> list[str]:
    """The ids of the workflows that a workflow's nodes refer to, each once, in the order of the nodes."""
    return list(dict.fromkeys(each for node in payload.nodes if (each := reference(node)) is not None))
