"""The node types that are the engine's own, as definitions: what an editor lists beside those of plugins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.plugins.nodes import NodeDefinition
from innkeeper.workflow.checking.graph import (
    FOR_EACH,
    GROUP_INPUT,
    GROUP_OUTPUT,
    IF,
    MERGE,
    NODE_GROUP,
    WHILE,
)
from innkeeper.workflow.formats.references import REFERENCE

MOST_TURNS = 10_000
"""What `maxIterations` of a loop may be at most."""

MOST_PARALLEL = 16
"""What `parallel` of a loop may be at most: nodes of one run at the same time."""

MAX_ITERATIONS = "maxIterations"
PARALLEL = "parallel"
ITEMS = "items"
ITEM = "item"
INDEX = "index"
CONTINUE = "continue"

_ANY: dict[str, Any] = {"dataFlowType": "CONVERTIBLE_ANY", "allowDynamicType": True, "displayName": "*"}

_REFERENCED: dict[str, Any] = {
    REFERENCE: {
        "displayName": "Workflow",
        "dataFlowType": "STRING",
        "matchCategories": ["ResourceId"],
        "required": True,
        "config": {"acceptedTypes": [{"value": "workflow", "label": "Workflow"}]},
    }
}

_BOUND: dict[str, Any] = {
    MAX_ITERATIONS: {
        "displayName": "At most",
        "description": "Turns at most; a loop that needs more fails.",
        "dataFlowType": "INTEGER",
        "required": True,
        "config": {"min": 1, "max": MOST_TURNS},
    }
}


def _definition(full_type: str, **fields: Any) -> NodeDefinition:
    namespace, type_ = full_type.split(":")
    return NodeDefinition.model_validate({"namespace": namespace, "type": type_, "category": "Flow", **fields})


OWN_NODES: Mapping[str, NodeDefinition] = {
    definition.full_type: definition
    for definition in (
        _definition(
            GROUP_INPUT,
            category="Group",
            displayName="Group input",
            description="Gives the values of the workflow's interface inputs.",
            outputs={"output_0": _ANY},
            dynamicSlots=True,
            isGroupInternal=True,
        ),
        _definition(
            GROUP_OUTPUT,
            category="Group",
            displayName="Group output",
            description="Takes the values of the workflow's interface outputs.",
            inputs={"input_0": _ANY},
            dynamicSlots=True,
            isGroupInternal=True,
        ),
        _definition(
            NODE_GROUP,
            category="Group",
            displayName="Group",
            description="Another workflow in the place of a node; its slots are that workflow's interface.",
            configSchema=_REFERENCED,
            dynamicSlots=True,
        ),
        _definition(
            IF,
            displayName="If",
            description="Gives its value to one of two branches; the other is not taken.",
            inputs={
                "condition": {"displayName": "Condition", "dataFlowType": "BOOLEAN", "required": True},
                "value": {"displayName": "Value", "dataFlowType": "WILDCARD"},
            },
            outputs={
                "then": {"displayName": "Then", "dataFlowType": "WILDCARD"},
                "else": {"displayName": "Else", "dataFlowType": "WILDCARD"},
            },
        ),
        _definition(
            MERGE,
            displayName="Merge",
            description="Gives the first value that there is, of branches of which some are not taken.",
            inputs={"values": {"displayName": "Values", "dataFlowType": "WILDCARD", "multi": True}},
            outputs={"value": {"displayName": "Value", "dataFlowType": "WILDCARD"}},
        ),
        _definition(
            FOR_EACH,
            displayName="For each",
            description="Runs a workflow once for each item of an array; its outputs are arrays.",
            inputs={ITEMS: {"displayName": "Items", "dataFlowType": "ARRAY", "required": True}},
            configSchema={
                **_REFERENCED,
                **_BOUND,
                PARALLEL: {
                    "displayName": "At the same time",
                    "dataFlowType": "INTEGER",
                    "config": {"min": 1, "max": MOST_PARALLEL, "default": 1},
                },
            },
            dynamicSlots=True,
        ),
        _definition(
            WHILE,
            displayName="While",
            description=f"Runs a workflow again while its output {CONTINUE!r} is true; outputs named like inputs are "
            "the inputs of the next turn.",
            configSchema={**_REFERENCED, **_BOUND},
            dynamicSlots=True,
        ),
    )
}
"""Full type to definition. Groups and loops have the slots of the workflow that they refer to besides these."""
