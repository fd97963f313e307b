"""What a bypassed node gives: which of its outputs pass on which of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.plugins.nodes import BypassBehavior, InputDefinition, NodeDefinition, Slot
from innkeeper.workflow.checking.graph import ERROR_OUTPUT, Passed
from innkeeper.workflow.checking.values import compatible

_EMPTY: Mapping[str, Any] = {"STRING": "", "INTEGER": 0, "FLOAT": 0.0, "BOOLEAN": False, "OBJECT": {}, "ARRAY": []}


def passed_values(
    definition: NodeDefinition | None, inputs: Mapping[str, InputDefinition], outputs: Mapping[str, Slot]
) -> dict[str, Passed]:
    """Per output that is no stream, what it gives; outputs that give nothing are not in it.

    Args:
        definition: what the node is; None for a group.
        inputs: the node's.
        outputs: the node's.
    """
    behaviour = definition.bypass_behavior if definition is not None else None
    if behaviour == "mute":
        return {}
    found: dict[str, Passed] = {}
    for key, slot in outputs.items():
        if slot.is_stream or key == ERROR_OUTPUT:
            continue
        empty = _EMPTY.get(slot.data_flow_type)
        if isinstance(behaviour, BypassBehavior):
            source = behaviour.pass_through.get(key)
            candidates = (source,) if source is not None and source in inputs and not inputs[source].is_stream else ()
            default = behaviour.defaults.get(key)
            found[key] = Passed(candidates, empty if default is None else default)
        else:
            fitting = (name for name, each in inputs.items() if not each.is_stream and compatible(each, slot))
            found[key] = Passed(tuple(fitting), empty)
    return found


def passed_streams(
    definition: NodeDefinition | None,
    inputs: Mapping[str, InputDefinition],
    outputs: Mapping[str, Slot],
    connected: Mapping[str, object],
) -> dict[str, str]:
    """Per stream output, the stream input that it passes on; one that is not in it ends at once.

    Args:
        definition: as of `passed_values`, as are inputs and outputs.
        inputs: the node's.
        outputs: the node's.
        connected: has the keys of the inputs that a stream flows into.
    """
    behaviour = definition.bypass_behavior if definition is not None else None
    if behaviour == "mute":
        return {}
    streams = {key: slot for key, slot in inputs.items() if slot.is_stream and key in connected}
    found: dict[str, str] = {}
    for key, slot in outputs.items():
        if not slot.is_stream:
            continue
        if isinstance(behaviour, BypassBehavior):
            source = behaviour.pass_through.get(key)
            if source in streams:
                found[key] = source
            continue
        free = (name for name, each in streams.items() if name not in found.values() and compatible(each, slot))
        source = next(free, None)
        if source is not None:
            found[key] = source
    return found
