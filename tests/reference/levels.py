"""Where the value of an input begins: edges are followed out of groups and into them, on demand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from innkeeper.plugins.nodes import BypassBehavior, InputDefinition, NodeDefinition, OutputDefinition
from reference.reading import Edge, Node, Workflow
from reference.slots import compatible

GROUP, INPUT, OUTPUT = "core:NodeGroup", "core:GroupInput", "core:GroupOutput"
IF, MERGE, FOR_EACH, WHILE = "innkeeper:If", "innkeeper:Merge", "innkeeper:ForEach", "innkeeper:While"
LOOPS = (FOR_EACH, WHILE)
ERROR_OUTPUT = "innkeeperError"


class Library(Protocol):
    """Knows the node types of plugins."""

    def definition(self, full_type: str) -> NodeDefinition:
        """What a node type is."""
        ...


@dataclass(frozen=True)
class Origin:
    """An output of a node that does something."""

    level: Level
    node: str
    slot: str

    @property
    def id(self) -> str:
        """The node's id in the run."""
        return self.level.prefix + self.node


@dataclass(frozen=True)
class Constant:
    """What a group's input has without an edge."""

    value: Any
    data_flow_type: str


@dataclass(eq=False)
class Level:
    """One use of a workflow: as the run itself, as a turn of a loop, or as a group.

    Attributes:
        values: of a run or a turn, what its interface inputs have; of a group, nothing.
        prefix: of the ids of its nodes.
        parent: of a group, the level that the group is in.
        group: of a group, the id of its node.
        reading: the workflow that an id refers to.
    """

    workflow: Workflow
    library: Library
    bodies: Mapping[str, Workflow]
    preview: bool
    prefix: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    parent: Level | None = None
    group: str = ""
    _inner: dict[str, Level] = field(default_factory=dict)

    def body(self, node: Node) -> Workflow:
        """The workflow that a group or a loop refers to."""
        return self.bodies[node.config["referencedWorkflowId"]]

    def inner(self, node: Node) -> Level:
        """The level of a group."""
        if node.id not in self._inner:
            prefix = f"{self.prefix}{node.id}/"
            self._inner[node.id] = Level(
                self.body(node), self.library, self.bodies, self.preview, prefix, {}, self, node.id
            )
        return self._inner[node.id]

    def flat(self) -> Iterator[tuple[Level, Node]]:
        """The nodes that do something, those of groups in the group's place."""
        for node in self.workflow.nodes.values():
            if node.type == GROUP and not node.bypassed:
                yield from self.inner(node).flat()
            elif self.parent is None or node.type not in (INPUT, OUTPUT):
                yield self, node

    def muted(self, node: Node) -> bool:
        """Whether a node is left out because the run is a preview."""
        return self.preview and self._is_plugin(node) and self.library.definition(node.type).is_preview_unsafe

    def is_bypassed(self, node: Node) -> bool:
        """Whether a node is not called, by its author's wish or in a preview."""
        return node.bypassed or self.muted(node)

    def _is_plugin(self, node: Node) -> bool:
        return not node.type.startswith(("core:", "innkeeper:"))

    def slots(self, node: Node) -> tuple[Mapping[str, InputDefinition], Mapping[str, OutputDefinition]]:
        """The slots of a node that are in effect."""
        inputs: Mapping[str, Any]
        outputs: Mapping[str, Any]
        match node.type:
            case "core:GroupInput":
                inputs, outputs = {}, self.workflow.inputs
            case "core:GroupOutput":
                inputs, outputs = self.workflow.outputs, {}
            case "core:NodeGroup":
                inputs, outputs = self.body(node).inputs, self.body(node).outputs
            case "innkeeper:If":
                inputs = {"condition": _input("BOOLEAN", required=True), "value": _input("WILDCARD")}
                outputs = {"then": _output("WILDCARD"), "else": _output("WILDCARD")}
            case "innkeeper:Merge":
                inputs, outputs = {"values": _input("WILDCARD", multi=True)}, {"value": _output("WILDCARD")}
            case "innkeeper:ForEach":
                body = self.body(node)
                inputs = {"items": _input("ARRAY", required=True)}
                inputs |= {key: slot for key, slot in body.inputs.items() if key not in ("item", "index")}
                outputs = {key: _output("ARRAY") for key in body.outputs}
            case "innkeeper:While":
                inputs, outputs = self.body(node).inputs, self.body(node).outputs
            case _:
                inputs, outputs = self.library.definition(node.type).slots(node.config)
        if node.policy.get("errorOutput"):
            outputs = {**outputs, ERROR_OUTPUT: _output("OBJECT")}
        return inputs, outputs

    def origins(self, node: str, key: str) -> list[Origin | Constant]:
        """Where the values of an input begin, in order."""
        return [origin for edge in self.workflow.edges_into(node, key) for origin in self._behind(edge)]

    def _behind(self, edge: Edge) -> list[Origin | Constant]:
        return self.behind(edge.source, edge.output)

    def behind(self, source: str, slot: str) -> list[Origin | Constant]:
        """Where the value of an output begins."""
        node = self.workflow.nodes[source]
        if node.type == GROUP and not node.bypassed:
            return self.inner(node).of_interface(slot)
        if node.type == INPUT and self.parent is not None:
            return self.parent.given_to(self.group, slot, self.workflow.inputs[slot])
        return [Origin(self, source, slot)]

    def of_interface(self, key: str) -> list[Origin | Constant]:
        """Where the value of an interface output begins: its mapping goes before an edge."""
        if key in self.workflow.mappings:
            return self.behind(*self.workflow.mappings[key])
        ends = [node.id for node in self.workflow.nodes.values() if node.type == OUTPUT]
        return next((found for found in (self.origins(end, key) for end in ends) if found), [])

    def given_to(self, group: str, key: str, slot: InputDefinition) -> list[Origin | Constant]:
        """Where the value of a group's input begins: edges, else a preset, else the default of the interface."""
        # An edge from an input of a group around it, into which nothing comes, is as good as none.
        found = self.origins(group, key)
        if found:
            return found
        preset = self.workflow.nodes[group].presets.get(key)
        value = slot.config.get("default") if preset is None else preset
        return [] if value is None or slot.is_stream else [Constant(value, slot.data_flow_type)]

    def stream(self, origin: Origin | Constant) -> Origin | None:
        """The output where a stream begins, behind bypassed nodes; None where it is empty."""
        if isinstance(origin, Constant):
            return None
        level, node = origin.level, origin.level.workflow.nodes[origin.node]
        if not level.is_bypassed(node):
            return origin
        passed = level.passed_streams(node).get(origin.slot)
        if passed is None:
            return None
        found = level.origins(node.id, passed)
        return self.stream(found[0]) if found else None

    def passed_streams(self, node: Node) -> dict[str, str]:
        """Per stream output of a bypassed node, the stream input that it gives."""
        behavior = self.bypass_behavior(node)
        inputs, outputs = self.slots(node)
        wanted = {key: slot for key, slot in outputs.items() if slot.is_stream}
        if behavior == "mute":
            return {}
        if isinstance(behavior, BypassBehavior):
            through = behavior.pass_through
            return {key: through[key] for key in wanted if key in through and inputs[through[key]].is_stream}
        free = [key for key, slot in inputs.items() if slot.is_stream and self.origins(node.id, key)]
        found = {}
        for key, slot in wanted.items():
            # A slot that goes in is the one that gives here.
            match = next((each for each in free if compatible(inputs[each], slot)), None)
            if match is not None:
                free.remove(match)
                found[key] = match
        return found

    def bypass_behavior(self, node: Node) -> str | BypassBehavior | None:
        """What the author of the node's type said of bypassing it, or None. In a preview some are muted."""
        if self.muted(node):
            return "mute"
        if not self._is_plugin(node):
            return None
        return self.library.definition(node.type).bypass_behavior


def _input(data_flow_type: str, **more: Any) -> InputDefinition:
    return InputDefinition.model_validate({"dataFlowType": data_flow_type, **more})


def _output(data_flow_type: str) -> OutputDefinition:
    return OutputDefinition.model_validate({"dataFlowType": data_flow_type})
