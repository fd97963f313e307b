"""What the inputs of a node have, and what a node gives that is bypassed."""

from __future__ import annotations

from typing import Any

from innkeeper.plugins.nodes import BypassBehavior, InputDefinition
from reference.levels import ERROR_OUTPUT, Level
from reference.reading import Node
from reference.results import BrokenError, Chunks, Nothing, Report, Result, Untaken, Value, given, items
from reference.slots import as_input, compatible, default, empty, from_json


def value_of(slot: InputDefinition, preset: Any, key: str, results: list[Result]) -> Any:
    """What a function gets: what edges bring, else the preset, else a default; None for nothing.

    Raises:
        BrokenError: it is required, and has nothing.
    """
    found = brought(slot, results)
    if found is not None:
        return found
    value = preset
    if value is None and slot.required:
        value = slot.config.get("default")
        if value is None:
            raise BrokenError("guest", f"the input {key!r} is required, and ")
    elif value is None:
        value = default(slot)
    return preset_value(slot, value)


def brought(slot: InputDefinition, results: list[Result]) -> Any:
    """What the edges of an input bring: absent ones are passed over."""
    values = [as_input(each.data, slot.data_flow_type) for each in results if isinstance(each, Value)]
    if not values:
        return None
    return values if slot.multi else values[0]


def preset_value(slot: InputDefinition, value: Any) -> Any:
    """A value that the graph's author wrote, as the input takes it."""
    if value is None:
        return None
    value = from_json(value, slot.data_flow_type)
    return [value] if slot.multi and not isinstance(value, list) else value


def bypassed(level: Level, node: Node, found: dict[str, list[Result]]) -> Report:
    """What a bypassed node gives."""
    inputs, outputs = level.slots(node)
    values: dict[str, Any] = {}
    for key, slot in inputs.items():
        if not slot.is_stream:
            # What somebody gave: nothing is called that would need what is empty.
            value = brought(slot, found[key])
            preset = node.presets.get(key, slot.config.get("default"))
            value = preset_value(slot, preset) if value is None else value
            if value is not None and not (slot.multi and all(each is None for each in value)):
                values[key] = value
    behavior = level.bypass_behavior(node)
    free = list(values)
    results: dict[str, Result] = {}
    for key, out in outputs.items():
        if key == ERROR_OUTPUT:
            results[key] = Untaken()
        elif out.is_stream:
            passed = level.passed_streams(node).get(key)
            results[key] = Chunks(() if passed is None else items(found[passed]))
        elif behavior == "mute":
            results[key] = Nothing()
        elif isinstance(behavior, BypassBehavior):
            through = behavior.pass_through.get(key, "")
            value = _passed(inputs[through], values[through], out.data_flow_type) if through in values else None
            value = behavior.defaults.get(key) if value is None else value
            results[key] = given(empty(out.data_flow_type) if value is None else value)
        else:
            match = next((each for each in free if compatible(inputs[each], out)), None)
            if match is not None:
                free.remove(match)
            kind = out.data_flow_type
            results[key] = given(empty(kind) if match is None else _passed(inputs[match], values[match], kind))
    return Report("skipped", "bypassed", results)


def _passed(slot: InputDefinition, value: Any, data_flow_type: str) -> Any:
    """What an output gives of an input: of several values the first, unless it is an array itself."""
    if slot.multi and (data_flow_type != "ARRAY" or slot.data_flow_type == "ARRAY"):
        value = next(each for each in value if each is not None)
    return as_input(value, data_flow_type)
