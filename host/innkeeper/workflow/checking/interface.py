"""The interface of a workflow: the values of its inputs, and which nodes give its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.plugins.nodes import InputDefinition, Slot
from innkeeper.workflow.checking.graph import GROUP_OUTPUT, Source
from innkeeper.workflow.checking.placed import Template
from innkeeper.workflow.checking.problems import Problems
from innkeeper.workflow.checking.values import misfit
from innkeeper.workflow.formats.payload import WorkflowPayload


def interface_values(inputs: Mapping[str, InputDefinition]) -> dict[str, Any]:
    """The values that interface inputs have by themselves (JSON data)."""
    defaults = {key: slot.config.get("default") for key, slot in inputs.items() if not slot.is_stream}
    return {key: value for key, value in defaults.items() if value is not None}


def values_fit(payload: WorkflowPayload, problems: Problems, *, given: bool = False) -> None:
    """Says which values of interface inputs do not fit; where they are `given`, also which are missing."""
    for key, slot in payload.interface_inputs.items():
        value = slot.config.get("default")
        if slot.is_stream:
            if given and slot.required:
                problems.add(f"the interface input {key!r} is a stream, and nothing can flow into it from outside")
            continue
        if value is None:
            if slot.required and given:
                problems.add(f"the interface input {key!r} needs a value; give it with --input {key}=VALUE")
            continue
        wrong = misfit(value, slot)
        if wrong is not None:
            problems.add(f"the interface input {key!r} has a value that does not fit: {wrong}")


def results(template: Template, problems: Problems) -> dict[str, Source]:
    """Per interface output that has one, the output of a node that gives it. A mapping goes before an edge."""
    found: dict[str, Source] = {}
    for node in template.nodes.values():
        if node.full_type == GROUP_OUTPUT:
            ends = [(key, sources[0]) for key, sources in node.sources.items()]
            found |= {key: source for key, source in ends if isinstance(source, Source)}
            found |= node.streams
    declared = template.payload.interface_outputs
    for key, mapping in template.payload.output_interface_mappings.items():
        what = f"the interface output {key!r}"
        source = template.nodes.get(mapping.source_node_id)
        if source is None:
            if mapping.source_node_id not in template.unresolved:
                problems.add(f"{what} comes from node {mapping.source_node_id!r}, which does not exist")
            continue
        if mapping.source_slot_key not in source.outputs:
            problems.add(
                f"{what} comes from an output {mapping.source_slot_key!r} of node {source.id!r}, which does not "
                f"exist; {problems.known(list(source.outputs), mapping.source_slot_key)}"
            )
            continue
        if template.id is not None and key in declared:
            streams = source.outputs[mapping.source_slot_key].is_stream
            if streams != declared[key].is_stream:
                one, other = ("a stream", "a value") if streams else ("a value", "a stream")
                problems.add(f"{what} comes from {one}, and is declared as {other}")
                continue
        found[key] = Source(source.id, mapping.source_slot_key)
    first = {key: found[key] for key in declared if key in found}
    return {**first, **found}


def interface_outputs(template: Template) -> dict[str, Slot]:
    """The interface outputs by key: as they are declared, and others as what gives them is."""
    found: dict[str, Slot] = dict(template.payload.interface_outputs)
    for key, source in template.results.items():
        if key not in found:
            slot = template.nodes[source.node].outputs[source.slot]
            found[key] = Slot.model_validate({"dataFlowType": slot.data_flow_type, "isStream": slot.is_stream})
    return found


def outputs_have_sources(template: Template, problems: Problems) -> None:
    """Says which declared interface outputs nothing gives."""
    for key in template.payload.interface_outputs:
        mapped = key in template.payload.output_interface_mappings
        if key not in template.results and not template.unresolved and not mapped:
            problems.add(f"the interface output {key!r} has no source: map it or connect it")
