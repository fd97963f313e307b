"""Graphs made by hand, for what the engine does with them: also those that a check would refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio

from innkeeper.plugins.nodes import InputDefinition, OutputDefinition, Slot
from innkeeper.plugins.runs import RunBase
from innkeeper.workflow.checking.graph import (
    ERROR_OUTPUT,
    FOR_EACH,
    GROUP_INPUT,
    GROUP_OUTPUT,
    IF,
    MERGE,
    WHILE,
    Constant,
    Graph,
    GraphNode,
    Origin,
    Passed,
    Role,
    Source,
    topological_order,
)
from innkeeper.workflow.engine.events import RunEvent, wire_event
from innkeeper.workflow.engine.outcome import RunOutcome
from innkeeper.workflow.engine.resuming import Resume
from innkeeper.workflow.engine.run import WorkflowRun
from innkeeper.workflow.engine.slots import HostSlots
from innkeeper.workflow.formats.payload import ExecutionNode
from innkeeper.workflow.formats.policy import NodePolicy
from innkeeper.workflow.host import NodeHost
from node_fakes import FakeHost, slots

_TYPES: dict[Role, str] = {
    "input": GROUP_INPUT,
    "output": GROUP_OUTPUT,
    "if": IF,
    "merge": MERGE,
    "for_each": FOR_EACH,
    "while": WHILE,
}


class Builder:
    """Makes a graph of nodes that are added one after another. A slot is written "NODE.KEY"."""

    def __init__(self, host: NodeHost) -> None:
        self.host = host
        self.nodes: dict[str, GraphNode] = {}
        self.late: set[tuple[str, str]] = set()
        self.outputs: dict[str, Origin] = {}
        self.streams: dict[str, Source] = {}
        self.values: dict[str, Any] = {}
        self.interface: dict[str, InputDefinition] = {}

    def add(self, id: str, type: str, presets: Mapping[str, Any] | None = None, **policy: Any) -> Builder:
        """A node of a plugin, by its full type or by the TYPE of "t:TYPE"."""
        plugin, definition = self.host.node(type if ":" in type else f"t:{type}")
        inputs, outputs = definition.slots({})
        node = self._node(id, definition.full_type, "plugin", inputs, outputs, presets, policy)
        node.definition, node.plugin, node.manifest = definition, plugin, plugin.manifest
        return self

    def engine(
        self,
        id: str,
        role: Role,
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        presets: Mapping[str, Any] | None = None,
        **policy: Any,
    ) -> GraphNode:
        """A node of the engine's own. Slots are written as those of fakes."""
        given = {key: InputDefinition.model_validate(slot) for key, slot in slots(dict(inputs or {})).items()}
        found = {key: OutputDefinition.model_validate(slot) for key, slot in slots(dict(outputs or {})).items()}
        return self._node(id, _TYPES.get(role, "t:Bypassed"), role, given, found, presets, policy)

    def _node(
        self,
        id: str,
        full_type: str,
        role: Role,
        inputs: Mapping[str, InputDefinition],
        outputs: Mapping[str, Slot],
        presets: Mapping[str, Any] | None,
        policy: Mapping[str, Any],
    ) -> GraphNode:
        written = NodePolicy.model_validate(policy)
        if written.error_output:
            outputs = {**outputs, ERROR_OUTPUT: OutputDefinition.model_validate({"dataFlowType": "OBJECT"})}
        node = ExecutionNode.model_validate({"id": id, "fullType": full_type})
        made = GraphNode(node, role, None, None, inputs, outputs, {}, presets=presets or {}, policy=written)
        self.nodes[id] = made
        return made

    def branch(self, id: str, **presets: Any) -> Builder:
        self.engine(id, "if", {"condition!": "BOOLEAN", "value": "WILDCARD"}, _both("then", "else"), presets)
        return self

    def merge(self, id: str) -> Builder:
        self.engine(id, "merge", {"values": {"dataFlowType": "WILDCARD", "multi": True}}, _both("value"))
        return self

    def loop(
        self,
        id: str,
        role: Role,
        body: Graph,
        bound: int,
        parallel: int = 1,
        presets: Mapping[str, Any] | None = None,
        **policy: Any,
    ) -> Builder:
        """A loop whose inputs and outputs are those of its body, and `items` where it goes through some."""
        inputs: dict[str, Any] = {"items!": "ARRAY"} if role == "for_each" else {}
        inputs |= {key: "WILDCARD" for key in body.interface_inputs if key not in ("item", "index")}
        node = self.engine(id, role, inputs, _both(*body.interface_outputs), presets, **policy)
        node.body, node.bound, node.parallel = body, bound, parallel
        return self

    def bypassed(
        self, id: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any], bypass: Mapping[str, Passed], **more: Any
    ) -> GraphNode:
        node = self.engine(id, "bypassed", inputs, outputs, more)
        node.bypass = bypass
        return node

    def edge(self, *edges: str, late: bool = False) -> Builder:
        """ "a.out -> b.in", of values or of streams as the slots are."""
        for edge in edges:
            source, target = (each.split(".") for each in edge.split(" -> "))
            node, origin = self.nodes[target[0]], Source(source[0], source[1])
            if node.inputs[target[1]].is_stream:
                node.streams[target[1]] = origin
                if late:
                    self.late.add((target[0], target[1]))
            else:
                node.sources.setdefault(target[1], []).append(origin)
        return self

    def constant(self, target: str, value: Any, type: str) -> Builder:
        node, key = target.split(".")
        self.nodes[node].sources.setdefault(key, []).append(Constant(value, type))
        return self

    def inputs(self, id: str, **slots_: Any) -> Builder:
        """The node that gives the interface's inputs, whose values are their defaults."""
        given = slots(slots_)
        self.interface = {key: InputDefinition.model_validate(slot) for key, slot in given.items()}
        self.values = {key: slot.config["default"] for key, slot in self.interface.items() if "default" in slot.config}
        self.engine(id, "input", outputs=given)
        return self

    def output(self, **outputs: str) -> Builder:
        """Interface outputs, each from a slot."""
        for key, place in outputs.items():
            node, slot = place.split(".")
            if self.nodes[node].outputs[slot].is_stream:
                self.streams[key] = Source(node, slot)
            else:
                self.outputs[key] = Source(node, slot)
        return self

    def graph(self) -> Graph:
        """All of it, in topological order; nodes that streams connect begin together where no stream is late."""
        behind: dict[str, set[str]] = {}
        groups: dict[str, set[str]] = {}
        for node in self.nodes.values():
            values = [each for found in node.sources.values() for each in found if isinstance(each, Source)]
            for origin in [*values, *node.streams.values()]:
                behind.setdefault(origin.node, set()).add(node.id)
            for key, stream in node.streams.items():
                if (node.id, key) not in self.late and node.role == "plugin":
                    both = groups.get(node.id, {node.id}) | groups.get(stream.node, {stream.node})
                    groups |= dict.fromkeys(both, both)
        order = topological_order(list(self.nodes), behind)
        assert len(order) == len(self.nodes)
        distinct = {id(group): group for group in groups.values()}.values()
        return Graph(
            {node: self.nodes[node] for node in order},
            self.values,
            self.outputs,
            self.interface,
            self.streams,
            tuple(tuple(sorted(group, key=order.index)) for group in distinct),
            frozenset(self.late),
        )


def _both(*keys: str) -> dict[str, Any]:
    return dict.fromkeys(keys, "WILDCARD")


class Listener:
    """An `EventSink` that keeps everything."""

    def __init__(self) -> None:
        self.events: list[RunEvent] = []

    def emit(self, event: RunEvent) -> None:
        self.events.append(event)

    async def room(self) -> None:
        pass

    async def settled(self) -> None:
        pass

    def wire(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Payloads of the events of a kind, or all events, as clients get them."""
        found = [wire_event(event, "p") for event in self.events]
        for event in found:
            event["payload"].pop("promptId")
        return found if kind is None else [event["payload"] for event in found if event["type"] == kind]


async def execute(
    graph: Graph,
    host: FakeHost,
    *,
    listener: Listener | None = None,
    resume: Resume | None = None,
    host_slots: HostSlots | None = None,
    bases: Mapping[str, RunBase] | None = None,
) -> RunOutcome:
    """Runs a graph; what holds for every run is looked at."""
    heard = Listener() if listener is None else listener
    run = WorkflowRun(
        graph, sink=heard, prompt_id="p", streams=host.streams, resume=resume, slots=host_slots, bases=bases
    )
    with trio.fail_after(60):
        outcome = await run.execute()
    first = 0 if resume is None else resume.seq
    assert [event.seq for event in heard.events] == list(range(first + 1, first + 1 + len(heard.events)))
    assert heard.events[-1].kind == "EXECUTION_STATUS_UPDATE"
    assert heard.events[-1].fields["status"] == outcome.status
    nothing_left(run)
    return outcome


def nothing_left(run: WorkflowRun) -> None:
    """Of a run that is over, no channel is connected, nothing is held, and no place is taken."""
    assert run.run not in run.streams._runs
    assert run.budgets.held == 0
    assert run.slots._free == 16
    assert not run.slots.contended


def statuses(outcome: RunOutcome) -> dict[str, str]:
    return {node.node: node.status for node in outcome.nodes.values()}
