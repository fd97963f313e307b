"""What of a graph's execution can be known before it: which nodes begin together, and what each waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from innkeeper.errors import InternalError
from innkeeper.workflow.checking.graph import Graph, GraphNode, Source, topological_order
from innkeeper.workflow.engine.inputs import is_heavy

LOOPS = frozenset({"for_each", "while"})
"""Roles of nodes that have no place among those that run: their inner nodes have."""


@dataclass(frozen=True, slots=True)
class Consumer:
    """An input that a stream flows into.

    Attributes:
        node: id of its node.
        key: the input.
        late: whether the node may begin only after the other end has ended.
    """

    node: str
    key: str
    late: bool


@dataclass(frozen=True, slots=True)
class Unit:
    """Nodes that begin together: one, or those that streams connect, each behind those whose streams it reads.

    Attributes:
        nodes: them.
        flows: whether any of them has streams.
    """

    nodes: tuple[GraphNode, ...]
    flows: bool


class Plan:
    """How a graph is executed. It is the same for each turn of a loop.

    Attributes:
        graph: the graph.
        units: what begins together, in graph order.
        waiting: per unit, how many nodes it waits for.
        behind: per node, the units (by their places in `units`) that wait for it.
        consumers: per stream output, what reads it.
        interface: per stream output, keys of the interface outputs that it is.
        heavy: ids of nodes whose inputs a thread gathers.
        named: display names of interface outputs, by key.
    """

    def __init__(self, graph: Graph) -> None:
        """Raises:
        InternalError: nodes that are to begin together wait for each other, which the check excludes.
        """
        self.graph = graph
        self.consumers: dict[Source, list[Consumer]] = {}
        self.interface: dict[Source, list[str]] = {}
        for node in graph.nodes.values():
            if node.streams and node.role == "plugin":
                for key, source in node.streams.items():
                    late = (node.id, key) in graph.late
                    self.consumers.setdefault(source, []).append(Consumer(node.id, key, late))
        for key, source in graph.interface_streams.items():
            self.interface.setdefault(source, []).append(key)
        self.units = self._units()
        unit_of = {node.id: place for place, unit in enumerate(self.units) for node in unit.nodes}
        self.behind: dict[str, list[int]] = {node: [] for node in graph.nodes}
        self.waiting: list[int] = []
        for place, unit in enumerate(self.units):
            origins = {origin for node in unit.nodes for origin in _origins(node, unit_of)}
            self.waiting.append(len(origins))
            for origin in origins:
                self.behind[origin].append(place)
        self.heavy = frozenset(node.id for node in graph.nodes.values() if is_heavy(node))
        self.named: dict[str, str] = {}
        for node in graph.nodes.values():
            if node.role == "output":
                self.named |= {key: slot.display_name for key, slot in node.inputs.items() if slot.display_name}
        self._check()

    def _units(self) -> list[Unit]:
        nodes = self.graph.nodes
        if not self.graph.stream_groups:
            # As most graphs are.
            return [Unit((node,), _flows(node)) for node in nodes.values()]
        group_of: dict[str, Sequence[str]] = {node: group for group in self.graph.stream_groups for node in group}
        units: list[Unit] = []
        done: set[str] = set()
        for node in nodes.values():
            if node.id in done:
                continue
            # What computes nothing reads no stream: it waits for those that it would read from.
            group = [each for each in group_of.get(node.id, ()) if nodes[each].role == "plugin"]
            members = tuple(nodes[each] for each in _along_streams(group, nodes)) if node.id in group else (node,)
            done.update(each.id for each in members)
            units.append(Unit(members, any(map(_flows, members))))
        return units

    def _check(self) -> None:
        waiting = list(self.waiting)
        ready = [place for place, count in enumerate(waiting) if count == 0]
        seen = 0
        while ready:
            seen += 1
            for node in self.units[ready.pop()].nodes:
                for place in self.behind[node.id]:
                    waiting[place] -= 1
                    if waiting[place] == 0:
                        ready.append(place)
        if seen < len(self.units):
            stuck = [node.id for place, unit in enumerate(self.units) if waiting[place] for node in unit.nodes]
            raise InternalError(f"nodes that streams connect wait for each other's values, such as {stuck[0]!r}")


def _along_streams(group: Sequence[str], nodes: Mapping[str, GraphNode]) -> list[str]:
    """Nodes that begin together, each behind those whose streams it reads."""
    successors: dict[str, set[str]] = {}
    for reader in group:
        for source in nodes[reader].streams.values():
            if source.node in group:
                successors.setdefault(source.node, set()).add(reader)
    order = topological_order(group, successors)
    if len(order) < len(group):
        raise InternalError("nodes that streams connect read in a circle")
    return order


def _flows(node: GraphNode) -> bool:
    if node.role != "plugin":
        return False
    if node.streams:
        return True
    for slots in (node.outputs, node.inputs):
        for slot in slots.values():
            if slot.is_stream:
                return True
    return False


def _origins(node: GraphNode, unit_of: Mapping[str, int]) -> set[str]:
    origins = {each.node for found in node.sources.values() for each in found if isinstance(each, Source)}
    if node.role != "plugin":
        # It reads no stream, but it is skipped like any node where the one at the other end fails.
        origins |= {each.node for each in node.streams.values() if unit_of[each.node] != unit_of[node.id]}
    return origins
