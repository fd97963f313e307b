"""What the outputs of a bypassed node have: what its inputs have, or what is empty for their type."""

from __future__ import annotations

from innkeeper.bridge.codec import encode
from innkeeper.errors import LimitError
from innkeeper.plugins.nodes import BypassBehavior
from innkeeper.workflow.checking.graph import GraphNode
from innkeeper.workflow.checking.values import converted, from_json
from innkeeper.workflow.engine.budgets import RUN_BYTES
from innkeeper.workflow.engine.inputs import Outcomes, along


def pseudo_outputs(node: GraphNode, outcomes: Outcomes) -> dict[str, bytes]:
    """The outputs (msgpack, by key) of a bypassed node. Those without a value are left out.

    Args:
        node: of the role "bypassed".
        outcomes: of its graph; those that it gets values from have ended.

    Raises:
        LimitError: the values of an input are too large to be joined.
    """
    behavior = None if node.definition is None else node.definition.bypass_behavior
    # Where its author maps the outputs, an input may go to several; where nobody does, each goes to one.
    mapped = isinstance(behavior, BypassBehavior)
    used: set[str] = set()
    outputs: dict[str, bytes] = {}
    for key, passed in node.bypass.items():
        slot = node.outputs.get(key)
        kind = "WILDCARD" if slot is None else slot.data_flow_type
        for candidate in passed.candidates:
            value = None if candidate in used else _given(node, candidate, kind == "ARRAY", outcomes)
            if value is not None:
                if not mapped:
                    used.add(candidate)
                outputs[key] = converted(value, kind)
                break
        else:
            if passed.empty is not None:
                outputs[key] = encode(from_json(passed.empty, kind), "msgpack")
    return outputs


def _given(node: GraphNode, key: str, whole: bool, outcomes: Outcomes) -> bytes | None:
    """What somebody gave an input; what is merely empty for its type is not that.

    Args:
        whole: whether all values of an input of several are wanted, or its first.
    """
    slot = node.inputs.get(key)
    if slot is None:
        return None
    several = slot.multi and slot.data_flow_type != "ARRAY"
    values = along(node.sources.get(key, ()), slot, outcomes)
    if values:
        if not (several and whole):
            return values[0]
        size = sum(map(len, values))
        if size > RUN_BYTES:
            # Known before they are joined: thousands of edges may lead here from one large output.
            raise LimitError(
                f"the values of the input {key!r} have {size:,} bytes together, and a run keeps {RUN_BYTES:,}",
                limit="run outputs",
                value=RUN_BYTES,
                used=size,
            )
        # An input has at most as many edges as a workflow, which is far below what a header can say.
        return encode([None] * len(values), "msgpack")[: -len(values)] + b"".join(values)
    given = node.presets.get(key)
    if given is None:
        given = slot.config.get("default")
    if several and isinstance(given, list) and not whole:
        given = next((each for each in given if each is not None), None)
    return None if given is None else encode(from_json(given, slot.data_flow_type), "msgpack")
