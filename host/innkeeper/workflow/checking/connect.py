"""The edges of a workflow: which outputs each input gets its values from, and in which order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from innkeeper.plugins.nodes import InputDefinition, Slot
from innkeeper.workflow.checking.graph import GROUP_INPUT, GraphNode, Source
from innkeeper.workflow.checking.problems import Problems
from innkeeper.workflow.checking.values import compatible
from innkeeper.workflow.formats.payload import ExecutionEdge

_SUB_HANDLE = re.compile(r"(?P<key>.+)__(?P<number>[0-9]{1,9})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Connection:
    edge: ExecutionEdge
    number: int | None


def connect(
    edges: Sequence[ExecutionEdge], nodes: Mapping[str, GraphNode], unresolved: Collection[str], problems: Problems
) -> None:
    """Fills the nodes' `sources` from the edges.

    Args:
        edges: the edges, in the order of the payload.
        nodes: the nodes whose slots are known.
        unresolved: ids of nodes that exist, but whose slots are not known; nothing is said about these.
        problems: gets what is wrong with the edges.
    """
    ids: set[str] = set()
    connections: dict[tuple[str, str], list[_Connection]] = {}
    for index, edge in enumerate(edges):
        name = f"edge {edge.id!r}" if edge.id is not None else f"edge number {index + 1}"
        if edge.id is not None:
            if edge.id in ids:
                problems.add(f"{name}: there is more than one edge with this id")
                continue
            ids.add(edge.id)
        gone = [
            node for node in (edge.source_node_id, edge.target_node_id) if node not in nodes and node not in unresolved
        ]
        for node_id in dict.fromkeys(gone):
            problems.add(f"{name}: there is no node {node_id!r}")
        output = _output(edge, nodes, problems)
        found = _input(edge, nodes, problems)
        if output is None or found is None:
            continue
        key, number, slot = found
        wrong = _mismatch(edge, output, slot)
        if wrong is not None:
            problems.add(wrong, edge.target_node_id, f"input {edge.target_handle!r}")
            continue
        connections.setdefault((edge.target_node_id, key), []).append(_Connection(edge, number))
    for (node, key), ends in connections.items():
        _settle(nodes[node], key, ends, problems)


def _output(edge: ExecutionEdge, nodes: Mapping[str, GraphNode], problems: Problems) -> Slot | None:
    node = nodes.get(edge.source_node_id)
    if node is None:
        return None
    slot = node.outputs.get(edge.source_handle)
    if slot is None:
        what = "the workflow has no interface input of this name" if node.full_type == GROUP_INPUT else "no such output"
        meant = problems.known(list(node.outputs), edge.source_handle)
        problems.add(f"{what}; {meant}", node.id, f"output {edge.source_handle!r}")
    return slot


def _input(
    edge: ExecutionEdge, nodes: Mapping[str, GraphNode], problems: Problems
) -> tuple[str, int | None, InputDefinition] | None:
    node = nodes.get(edge.target_node_id)
    if node is None:
        return None
    handle = edge.target_handle
    if handle in node.inputs:
        return handle, None, node.inputs[handle]
    match = _SUB_HANDLE.fullmatch(handle)
    if match is not None and match["key"] in node.inputs:
        slot = node.inputs[match["key"]]
        if slot.multi:
            return match["key"], int(match["number"]), slot
        text = f"the input {match['key']!r} takes one edge only and has no numbered handles"
    else:
        text = f"no such input; {problems.known(list(node.inputs), handle)}"
    problems.add(text, node.id, f"input {handle!r}")
    return None


def _mismatch(edge: ExecutionEdge, output: Slot, slot: InputDefinition) -> str | None:
    origin = f"output {edge.source_handle!r} of node {edge.source_node_id!r}"
    if output.is_stream or slot.is_stream:
        return f"the edge from {origin} is a stream, which this version does not run"
    if not compatible(output, slot):
        return f"takes {slot.data_flow_type}, and {origin} gives {output.data_flow_type}"
    return None


def _settle(node: GraphNode, key: str, ends: list[_Connection], problems: Problems) -> None:
    slot = node.inputs[key]
    place = f"input {key!r}"
    if not slot.multi and len(ends) > 1:
        problems.add(f"takes one edge, and {len(ends)} end there", node.id, place)
    if slot.max_connections is not None and len(ends) > slot.max_connections:
        problems.add(f"takes at most {slot.max_connections} edges, and {len(ends)} end there", node.id, place)
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

    order = sorted(range(len(ends)), key=place_of)
    node.sources[key] = [Source(ends[i].edge.source_node_id, ends[i].edge.source_handle) for i in order]
