"""A checked workflow: every name resolved, every input's origins known, in the order in which it can run."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from innkeeper.plugins.manifest import Manifest
from innkeeper.plugins.nodes import InputDefinition, NodeDefinition, Slot
from innkeeper.workflow.formats.payload import ExecutionNode
from innkeeper.workflow.formats.policy import NodePolicy
from innkeeper.workflow.formats.references import FOR_EACH as FOR_EACH
from innkeeper.workflow.formats.references import GROUP_INPUT as GROUP_INPUT
from innkeeper.workflow.formats.references import GROUP_OUTPUT as GROUP_OUTPUT
from innkeeper.workflow.formats.references import NODE_GROUP as NODE_GROUP
from innkeeper.workflow.formats.references import WHILE as WHILE
from innkeeper.workflow.host import NodePlugin

if TYPE_CHECKING:
    from innkeeper.plugins.native.hooks import Hooks

IF = "innkeeper:If"
MERGE = "innkeeper:Merge"

ENGINE_NODES = frozenset({GROUP_INPUT, GROUP_OUTPUT, NODE_GROUP, IF, MERGE, FOR_EACH, WHILE})
"""Types of nodes that are the engine's own, and no plugin's."""

Role = Literal["plugin", "input", "output", "if", "merge", "for_each", "while", "bypassed"]
"""What the engine does with a node: calls a plugin, or one of the things that it does itself."""

ERROR_OUTPUT = "innkeeperError"
"""The output that a node has in addition where its policy says so: what failed, as an object."""


@dataclass(frozen=True, slots=True)
class Source:
    """An output of a node of the same graph, as the origin of a value or of a stream."""

    node: str
    slot: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that is known before the run: what a group's input has without an edge.

    Attributes:
        value: JSON data.
        data_flow_type: of the slot that it was given to.
    """

    value: Any
    data_flow_type: str


Origin = Source | Constant
"""Where a value comes from. Groups are resolved: an origin is never a slot of a group or of its interface."""


@dataclass(frozen=True, slots=True)
class Passed:
    """An output of a bypassed node that gives what one of its inputs has.

    Attributes:
        candidates: keys of inputs; the first that has a value. Unless the node's definition says how it passes values
            on, one that an output before has taken is passed over.
        empty: JSON data for where none has; None: no value.
    """

    candidates: tuple[str, ...]
    empty: Any = None


@dataclass(slots=True)
class GraphNode:
    """A node with everything that running it needs.

    Attributes:
        node: as it was submitted; in a group, its id has that of the group before it.
        role: what the engine does with it.
        definition: what it is, or None for the engine's own nodes.
        plugin: what runs it, or None for the engine's own nodes and for bypassed ones.
        inputs: the inputs in effect.
        outputs: the outputs in effect, `ERROR_OUTPUT` included where the node has it.
        config: its configuration with the defaults filled in.
        sources: per input that takes values, the origins whose values it gets, in order.
        streams: per stream input that something flows into, the output of a plugin's node where it begins. What is
            bypassed or a group between the two is resolved.
        presets: per input, a value that applies where no edge brings one.
        manifest: its plugin's as the check found it, or None: the plugin may be another by the time the node runs.
        policy: what its author wants of the engine.
        bypass: for the role "bypassed", per output that may have a value where it comes from.
        body: for a loop, the graph of one turn.
        bound: for a loop, the most turns.
        parallel: for a loop, turns at the same time.
    """

    node: ExecutionNode
    role: Role
    definition: NodeDefinition | None
    plugin: NodePlugin | None
    inputs: Mapping[str, InputDefinition]
    outputs: Mapping[str, Slot]
    config: Mapping[str, Any]
    sources: dict[str, list[Origin]] = field(default_factory=dict)
    streams: dict[str, Source] = field(default_factory=dict)
    presets: Mapping[str, Any] = field(default_factory=dict)
    manifest: Manifest | None = None
    policy: NodePolicy = field(default_factory=NodePolicy)
    bypass: Mapping[str, Passed] = field(default_factory=dict)
    body: Graph | None = None
    bound: int = 0
    parallel: int = 1

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
        interface_values: values of the interface inputs that have one (JSON data).
        interface_inputs: the interface's inputs by key.
        interface_outputs: key to the origin whose value it is.
        interface_streams: key to the output where the stream of an interface output begins.
        stream_groups: ids of nodes that streams connect and that begin together, each group in graph order.
        late: stream inputs, as (node, key), of nodes that begin only when the node at the other end may have ended:
            what flows there meanwhile is held, within a bound.
        hooks: what native plugins want to know of the run, or None.
    """

    nodes: Mapping[str, GraphNode]
    interface_values: Mapping[str, Any]
    interface_outputs: Mapping[str, Origin]
    interface_inputs: Mapping[str, InputDefinition] = field(default_factory=dict)
    interface_streams: Mapping[str, Source] = field(default_factory=dict)
    stream_groups: tuple[tuple[str, ...], ...] = ()
    late: frozenset[tuple[str, str]] = frozenset()
    hooks: Hooks | None = None

    def all_nodes(self) -> Iterator[GraphNode]:
        """Its nodes and those of the turns of its loops; each once, however many loops have the same turn."""
        seen: set[int] = set()
        ahead = [self]
        while ahead:
            graph = ahead.pop()
            if id(graph) in seen:
                continue
            seen.add(id(graph))
            yield from graph.nodes.values()
            ahead += [node.body for node in graph.nodes.values() if node.body is not None]


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
