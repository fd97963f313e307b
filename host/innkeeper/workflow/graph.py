"""A checked workflow: every name resolved, every input's sources known, in the order in which it can run."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from innkeeper.plugins.manifest import Manifest
from innkeeper.plugins.nodes import InputDefinition, NodeDefinition, Slot
from innkeeper.workflow.host import NodePlugin
from innkeeper.workflow.payload import ExecutionNode

if TYPE_CHECKING:
    from innkeeper.plugins.native.hooks import Hooks

GROUP_INPUT = "core:GroupInput"
GROUP_OUTPUT = "core:GroupOutput"
NODE_GROUP = "core:NodeGroup"
ENGINE_NODES = frozenset({GROUP_INPUT, GROUP_OUTPUT})
"""Nodes that the engine runs itself: they carry the workflow's interface and compute nothing."""

_MOST_CYCLES = 10


@dataclass(frozen=True, slots=True)
class Source:
    """An output of a node, as the origin of a value."""

    node: str
    slot: str


@dataclass(slots=True)
class GraphNode:
    """A node with everything that running it needs.

    Attributes:
        node: as it was submitted.
        definition: what it is, or None for the engine's own nodes.
        plugin: what runs it, or None for the engine's own nodes.
        inputs: the inputs in effect.
        outputs: the outputs in effect.
        config: its configuration with the defaults filled in.
        sources: per input, the outputs whose values it gets, in order.
        presets: per input, a value that applies where no edge brings one.
        manifest: its plugin's as the check found it, or None: the plugin may be another by the time the node runs.
    """

    node: ExecutionNode
    definition: NodeDefinition | None
    plugin: NodePlugin | None
    inputs: Mapping[str, InputDefinition]
    outputs: Mapping[str, Slot]
    config: Mapping[str, Any]
    sources: dict[str, list[Source]] = field(default_factory=dict)
    presets: Mapping[str, Any] = field(default_factory=dict)
    manifest: Manifest | None = None

    @property
    def id(self) -> str:
        """The node's id in its workflow."""
        return self.node.id

    @property
    def full_type(self) -> str:
        """The node's type, "namespace:type"."""
        return self.node.full_type


@dataclass(frozen=True, slots=True)
class Graph:
    """A workflow that passed the check.

    Attributes:
        nodes: id to node, in topological order, ties in the order of the payload.
        interface_values: values of the interface inputs that have one.
        interface_outputs: key to the output whose value it is.
        hooks: what native plugins want to know of the run, or None.
    """

    nodes: Mapping[str, GraphNode]
    interface_values: Mapping[str, Any]
    interface_outputs: Mapping[str, Source]
    hooks: Hooks | None = None


def topological_order(ids: Sequence[str], successors: Mapping[str, set[str]]) -> list[str]:
    """Node ids such that every edge leads forward, ties in the order of `ids`; without those in or behind cycles."""
    rank = {node: index for index, node in enumerate(ids)}
    waiting = dict.fromkeys(ids, 0)
    for targets in successors.values():
        for target in targets:
            waiting[target] += 1
    ready = [rank[node] for node in ids if waiting[node] == 0]
    order = []
    while ready:
        node = ids[heapq.heappop(ready)]
        order.append(node)
        for target in successors.get(node, ()):
            waiting[target] -= 1
            if waiting[target] == 0:
                heapq.heappush(ready, rank[target])
    return order


def cycles(ids: Sequence[str], successors: Mapping[str, set[str]]) -> list[list[str]]:
    """Up to ten cycles of a graph: the node ids of each, in the order of its edges."""
    rank = {node: index for index, node in enumerate(ids)}
    sorted_targets = {node: sorted(targets, key=rank.__getitem__) for node, targets in successors.items()}
    found: list[list[str]] = []
    done: set[str] = set()
    for first in ids:
        if first in done:
            continue
        path: list[str] = []
        on_path: dict[str, int] = {}
        # Depth first without recursion: a chain may be as long as the graph.
        stack = [(first, iter(sorted_targets.get(first, ())))]
        path.append(first)
        on_path[first] = 0
        while stack:
            node, targets = stack[-1]
            for target in targets:
                if target in on_path:
                    found.append(path[on_path[target] :])
                    if len(found) == _MOST_CYCLES:
                        return found
                elif target not in done:
                    on_path[target] = len(path)
                    path.append(target)
                    stack.append((target, iter(sorted_targets.get(target, ()))))
                    break
            else:
                stack.pop()
                done.add(path.pop())
                del on_path[node]
    return found
