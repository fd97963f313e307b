"""Branches: which outputs are taken, and which value comes together again."""

from __future__ import annotations

import msgpack

from innkeeper.bridge.codec import encode
from innkeeper.errors import GuestError
from innkeeper.workflow.checking.graph import GraphNode
from innkeeper.workflow.checking.values import from_json, misfit
from innkeeper.workflow.engine.call import sketch
from innkeeper.workflow.engine.inputs import Outcomes, along, gathered

TRUE, FALSE = msgpack.packb(True), msgpack.packb(False)


def branched(node: GraphNode, outcomes: Outcomes) -> tuple[dict[str, bytes], frozenset[str]]:
    """The outputs of an `innkeeper:If`, and those that are not taken.

    Raises:
        GuestError: its condition has no value, or none that is true or false.
    """
    inputs = gathered(node, outcomes)
    condition = inputs.get("condition")
    if condition not in (TRUE, FALSE):
        given = None if not isinstance(condition, bytes) else misfit(sketch(condition), node.inputs["condition"])
        raise GuestError(f"the input 'condition': {given or 'it must be true or false'}")
    taken, other = ("then", "else") if condition == TRUE else ("else", "then")
    value = inputs.get("value")
    return ({} if not isinstance(value, bytes) else {taken: value}), frozenset({other})


def merged(node: GraphNode, outcomes: Outcomes) -> dict[str, bytes]:
    """The outputs of an `innkeeper:Merge`: the first value, in order."""
    slot = node.inputs["values"]
    values = along(node.sources.get("values", ()), slot, outcomes)
    if values:
        return {"value": values[0]}
    given = node.presets.get("values")
    for each in given if isinstance(given, list) else [given]:
        if each is not None:
            return {"value": encode(from_json(each, slot.data_flow_type), "msgpack")}
    return {}
