"""The edges of a workflow: which outputs each input gets its values from, and in which order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from innkeeper.plugins.nodes import InputDefinition, Slot
from innkeeper.workflow.checking.graph import ERROR_OUTPUT, GROUP_INPUT, Source
from innkeeper.workflow.checking.placed import Placed
from innkeeper.workflow.checking.problems import Problems
from innkeeper.workflow.checking.values import compatible
from innkeeper.workflow.formats.payload import ExecutionEdge

_SUB_HANDLE = re.compile(r"(?P<key>.+)__(?P<number>[0-9]{1,9})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Connection:
    edge: ExecutionEdge
    source: Source
    number: int | None


def connect(
    edges: Sequence[ExecutionEdge], nodes: Mapping[str, Placed], unresolved: Collection[str], problems: Problems
) -> None:
    """Fills the nodes' `sources` and `streams` from the edges.

    Args:
        edges: the edges, in the order of the payload.
        nodes: the nodes whose slots are known.
        unresolved: ids of nodes that exist, but whose slots are not known; nothing is said about these.
        problems: gets what is wrong with the edges.
    """
    ids: set[str] = set()
    connections: dict[tuple[str, str], list[_Connection]] = {}
    for index, edge in enumerate(edges):
        if edge.id is not None:
            if edge.id in ids:
                problems.add(f"{_name(edge, index)}: there is more than one edge with this id")
                continue
            ids.add(edge.id)
        # A payload may have a hundred thousand edges, nearly all of which are right.
        if edge.source_node_id not in nodes or edge.target_node_id not in nodes:
            for node_id in dict.fromkeys((edge.source_node_id, edge.target_node_id)):
                if node_id not in nodes and node_id not in unresolved:
                    problems.add(f"{_name(edge, index)}: there is no node {node_id!r}")
        output = _output(edge, nodes, problems)
        found = _input(edge, nodes, problems)
        if output is None or found is None:
            continue
        source = Source(edge.source_node_id, output[0])
        key, number, slot = found
        wrong = _mismatch(source, output[1], slot)
        if wrong is not None:
            problems.add(wrong, edge.target_node_id, f"input {edge.target_handle or key!r}")
            continue
        connections.setdefault((edge.target_node_id, key), []).append(_Connection(edge, source, number))
    for (node, key), ends in connections.items():
        _settle(nodes[node], key, ends, problems)


def _name(edge: ExecutionEdge, index: int) -> str:
    return f"edge {edge.id!r}" if edge.id is not None else f"edge number {index + 1}"


def _output(edge: ExecutionEdge, nodes: Mapping[str, Placed], problems: Problems) -> tuple[str, Slot] | None:
    node = nodes.get(edge.source_node_id)
    if node is None:
        return None
    handle = edge.source_handle
    if handle is None:
        keys = [key for key in node.outputs if key != ERROR_OUTPUT]
        if len(keys) != 1:
            problems.add(f"an edge names no output of it, and it has {len(keys)}", node.id)
            return None
        handle = keys[0]
    slot = node.outputs.get(handle)
    if slot is None:
        what = "the workflow has no interface input of this name" if node.full_type == GROUP_INPUT else "no such output"
        problems.add(f"{what}; {problems.known(list(node.outputs), handle)}", node.id, f"output {handle!r}")
        return None
    return handle, slot


def _input(
    edge: ExecutionEdge, nodes: Mapping[str, Placed], problems: Problems
) -> tuple[str, int | None, InputDefinition] | None:
    node = nodes.get(edge.target_node_id)
    if node is None:
        return None
    handle = edge.target_handle
    found = key_of(handle, node.inputs)
    if found is None:
        if handle is None:
            problems.add(f"an edge names no input of it, and it has {len(node.inputs)}", node.id)
        else:
            text = f"no such input; {problems.known(list(node.inputs), handle)}"
            problems.add(text, node.id, f"input {handle!r}")
        return None
    key, number = found
    slot = node.inputs[key]
    if number is not None and not slot.multi:
        text = f"the input {key!r} takes one edge only and has no numbered handles"
        problems.add(text, node.id, f"input {handle!r}")
        return None
    return key, number, slot


def key_of(handle: str | None, inputs: Mapping[str, InputDefinition]) -> tuple[str, int | None] | None:
    """The input that a handle means: its key, and the number of a sub-handle (`key__N`), or None without one. None as a
    whole: there is no such input."""
    if handle is None:
        return (next(iter(inputs)), None) if len(inputs) == 1 else None
    if handle in inputs:
        return handle, None
    match = _SUB_HANDLE.fullmatch(handle)
    return (match["key"], int(match["number"])) if match is not None and match["key"] in inputs else None


def _mismatch(source: Source, output: Slot, slot: InputDefinition) -> str | None:
    if output.is_stream == slot.is_stream and compatible(output, slot):
        return None
    origin = f"output {source.slot!r} of node {source.node!r}"
    if output.is_stream != slot.is_stream:
        return f"{_takes(slot)}, and {origin} is {'a stream' if output.is_stream else 'no stream'}"
    return f"takes {slot.data_flow_type}, and {origin} gives {output.data_flow_type}"


def _takes(slot: Slot) -> str:
    return "takes a stream" if slot.is_stream else "takes a value"


def _settle(node: Placed, key: str, ends: list[_Connection], problems: Problems) -> None:
    slot = node.inputs[key]
    place = f"input {key!r}"
    if slot.is_stream and len(ends) > 1:
        problems.add(f"takes one stream, and {len(ends)} end there", node.id, place)
    elif not slot.multi and len(ends) > 1:
        problems.add(f"takes one edge, and {len(ends)} end there", node.id, place)
    if slot.max_connections is not None and len(ends) > slot.max_connections:
        problems.add(f"takes at most {slot.max_connections} edges, and {len(ends)} end there", node.id, place)
    if slot.is_stream:
        node.streams[key] = ends[0].source
        return
    if len(ends) == 1:
        node.sources[key] = [ends[0].source]
        return
    numbers = Counter(end.number for end in ends if end.number is not None)
    for number in sorted(number for number, count in numbers.items() if count > 1):
        problems.add("takes one edge, and several end there", node.id, f"input {f'{key}__{number}'!r}")
    listed = {edge: rank for rank, edge in reversed(list(enumerate(node.node.input_connection_orders.get(key, []))))}

    def place_of(position: int) -> tuple[int, int, int]:
        end = ends[position]
        if end.edge.id is not None and end.edge.id in listed:
            return 0, listed[end.edge.id], position
        if end.number is not None:
            return 1, end.number, position
        return 2, 0, position

    node.sources[key] = [ends[at].source for at in sorted(range(len(ends)), key=place_of)]
