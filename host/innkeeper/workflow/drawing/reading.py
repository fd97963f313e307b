"""From a workflow's JSON, in either form, to what is drawn of it. Nothing is refused that can be shown somehow: the
check says what is wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from innkeeper.errors import UsageError
from innkeeper.plugins.nodes import NodeDefinition, Slot
from innkeeper.workflow.checking.graph import FOR_EACH, GROUP_INPUT, GROUP_OUTPUT, IF, MERGE, NODE_GROUP, WHILE
from innkeeper.workflow.drawing.sketch import Pin, Sketch, SketchEdge, SketchNode, State
from innkeeper.workflow.formats.parts import MAX_EDGES, MAX_NODES

MOST_DEPTH: Final = 16
"""Groups in groups that are drawn."""

MOST_PINS: Final = 512
"""Slots of one kind that a node is drawn with."""

Find = Callable[[str], object]
"""The JSON of the workflow with an id, as plain data that somebody has bounded, or None."""

Define = Callable[[str], NodeDefinition | None]
"""The definition behind "namespace:type", or None."""

REFERENCE = "referencedWorkflowId"

_FIXED = {IF: (("condition", "value"), ("then", "else")), MERGE: (("values",), ("value",))}
_REFERRING = frozenset({NODE_GROUP, FOR_EACH, WHILE})
_NUMBERED = re.compile(r"(.+)__[0-9]{1,9}", re.DOTALL)
_NAME = 300


def sketch_of(value: object, define: Define, find: Find) -> Sketch:
    """What is drawn of a workflow.

    Args:
        value: its JSON in either form, or what is none; bounded by somebody.
        define: knows node types.
        find: knows other workflows, beside those that the workflow carries itself.
    """
    return _Reading(value, define, find).sketch(value, ())


class _Reading:
    def __init__(self, value: object, define: Define, find: Find) -> None:
        self._define = define
        self._find = find
        self._carried = _table(_table(_table(value).get("innkeeper")).get("workflows"))
        self._definitions: dict[str, NodeDefinition | None] = {}
        self._nodes, self._edges = MAX_NODES, MAX_EDGES

    def sketch(self, value: object, above: tuple[str, ...]) -> Sketch:
        workflow = _table(value)
        made = Sketch(name=_name_of(workflow), id=above[-1] if above else "")
        numbers: dict[str, int] = {}
        for raw in _items(workflow.get("nodes")):
            if self._nodes <= 0:
                made.problems.append(f"more than {MAX_NODES:,} nodes: the others are not drawn")
                break
            self._nodes -= 1
            node = self._node(_table(raw), workflow, above)
            if node is not None:
                numbers.setdefault(node.id, len(made.nodes))
                made.nodes.append(node)
        self._connect(made, workflow, numbers)
        _mapped(made, workflow, numbers)
        return made

    # --- nodes ------------------------------------------------------------------------------------------------------

    def _node(self, raw: Mapping[str, Any], workflow: Mapping[str, Any], above: tuple[str, ...]) -> SketchNode | None:
        id = _text(raw.get("id"))
        if not id:
            return None
        type_ = _text(raw.get("fullType")) or _text(raw.get("type"))
        data = _table(raw.get("data"))
        node = SketchNode(id, type_ or "?", _text(raw.get("displayName")), position=_position(raw))
        config = {**_table(data.get("configValues")), **_table(raw.get("configValues"))}
        node.state = self._slots(node, config, data, workflow, above)
        if raw.get("bypassed") is True or data.get("bypassed") is True:
            node.state = "bypassed"
        return node

    def _slots(
        self,
        node: SketchNode,
        config: Mapping[str, Any],
        data: Mapping[str, Any],
        workflow: Mapping[str, Any],
        above: tuple[str, ...],
    ) -> State:
        if node.type == GROUP_INPUT:
            node.outputs = _interface(workflow.get("interfaceInputs"))
        elif node.type == GROUP_OUTPUT:
            node.inputs = _interface(workflow.get("interfaceOutputs"))
        elif node.type in _FIXED:
            node.inputs, node.outputs = ([Pin(key) for key in keys] for keys in _FIXED[node.type])
        elif node.type in _REFERRING:
            self._refer(node, _text(config.get(REFERENCE)), data, above)
        else:
            definition = self._definition(node.type)
            if definition is None:
                return "unknown"
            try:
                inputs, outputs = definition.slots(config)
            except UsageError:
                # A mode that it does not have.
                inputs, outputs = definition.inputs, definition.outputs
            node.inputs, node.outputs = _pins(inputs), _pins(outputs)
            return "plain"
        return "engine"

    def _definition(self, full_type: str) -> NodeDefinition | None:
        if full_type not in self._definitions:
            self._definitions[full_type] = self._define(full_type)
        return self._definitions[full_type]

    def _refer(self, node: SketchNode, id: str, data: Mapping[str, Any], above: tuple[str, ...]) -> None:
        referred = self._carried.get(id) if id in self._carried else self._find(id) if id else None
        interface = _table(data.get("groupInterface"))
        taken, given = interface.get("inputs"), interface.get("outputs")
        if isinstance(referred, Mapping):
            taken, given = referred.get("interfaceInputs"), referred.get("interfaceOutputs")
            if id in above:
                node.note = "refers to itself"
            elif len(above) >= MOST_DEPTH:
                node.note = f"not drawn: groups are {MOST_DEPTH} deep here"
            elif len(_items(referred.get("nodes"))) > self._nodes:
                node.note = "not drawn: too many nodes"
            else:
                node.inside = self.sketch(referred, (*above, id))
                node.title = node.title or node.inside.name
        else:
            node.note = f"there is no workflow {id}" if id else "refers to no workflow"
        node.inputs, node.outputs = _interface(taken), _interface(given)
        if node.type == FOR_EACH:
            # The engine gives these to each turn itself.
            node.inputs = [Pin("items", "ARRAY"), *(pin for pin in node.inputs if pin.key not in ("item", "index"))]

    # --- edges ------------------------------------------------------------------------------------------------------

    def _connect(self, made: Sketch, workflow: Mapping[str, Any], numbers: Mapping[str, int]) -> None:
        for each in _items(workflow.get("edges")):
            if self._edges <= 0:
                made.problems.append(f"more than {MAX_EDGES:,} edges: the others are not drawn")
                return
            self._edges -= 1
            raw = _table(each)
            source = numbers.get(_text(raw.get("sourceNodeId")) or _text(raw.get("source")))
            target = numbers.get(_text(raw.get("targetNodeId")) or _text(raw.get("target")))
            if source is None or target is None:
                continue
            output = _ended(made.nodes[source].outputs, _text(raw.get("sourceHandle")), numbered=False)
            input = _ended(made.nodes[target].inputs, _text(raw.get("targetHandle")), numbered=True)
            _join(made, source, output, target, input)


def _join(made: Sketch, source: int, output: str, target: int, input: str) -> None:
    begin = made.nodes[source].output(output) if len(made.nodes[source].outputs) < MOST_PINS else None
    end = made.nodes[target].input(input) if len(made.nodes[target].inputs) < MOST_PINS else None
    stream = any(pin is not None and pin.known and pin.stream for pin in (begin, end))
    for pin, node in ((begin, made.nodes[source]), (end, made.nodes[target])):
        # Of a node that nobody has, what its edges say is all there is to know.
        if pin is not None and not pin.known and node.state in ("unknown", "engine"):
            pin.known, pin.stream = True, stream
    made.edges.append(SketchEdge(source, output, target, input, stream))


def _ended(pins: list[Pin], handle: str, *, numbered: bool) -> str:
    """The key of the slot that a handle means: editors leave it out where there is one only, and number the edges of
    an input that takes several."""
    if not handle:
        return pins[0].key if pins else ""
    keys = {pin.key for pin in pins}
    match = _NUMBERED.fullmatch(handle) if numbered and handle not in keys else None
    return match[1] if match is not None and (match[1] in keys or not keys) else handle


def _mapped(made: Sketch, workflow: Mapping[str, Any], numbers: Mapping[str, int]) -> None:
    """Adds what takes the workflow's outputs, where no node of its own does."""
    mappings = _table(workflow.get("outputInterfaceMappings"))
    if not mappings or any(node.type == GROUP_OUTPUT for node in made.nodes):
        return
    node = SketchNode("outputs", "of the workflow", state="engine", inputs=_interface(workflow.get("interfaceOutputs")))
    place = len(made.nodes)
    made.nodes.append(node)
    for key, raw in mappings.items():
        source = numbers.get(_text(_table(raw).get("sourceNodeId")))
        if source is not None and isinstance(key, str):
            _join(made, source, _text(_table(raw).get("sourceSlotKey")), place, _text(key))


# --- what may be anything ---------------------------------------------------------------------------------------------


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _name_of(workflow: Mapping[str, Any]) -> str:
    """What its author calls a workflow, in either form."""
    return _text(workflow.get("name")) or _text(_table(workflow.get("metadata")).get("workflowName"))


def _text(value: object) -> str:
    return value[:_NAME] if isinstance(value, str) else ""


def _pins(slots: Mapping[str, Slot]) -> list[Pin]:
    return [Pin(key, slot.data_flow_type, slot.is_stream) for key, slot in list(slots.items())[:MOST_PINS]]


def _interface(value: object) -> list[Pin]:
    return list(_interface_pins(_table(value)))


def _interface_pins(slots: Mapping[str, Any]) -> Iterator[Pin]:
    for key, raw in list(slots.items())[:MOST_PINS]:
        slot = _table(raw)
        legacy = slot.get("dataFlowType") == "STREAM"
        type_ = "WILDCARD" if legacy else _text(slot.get("dataFlowType"))
        yield Pin(_text(key), type_, legacy or slot.get("isStream") is True)


def _position(raw: Mapping[str, Any]) -> tuple[float, float] | None:
    at = _table(raw.get("position"))
    x, y = at.get("x"), at.get("y")
    if isinstance(x, bool) or isinstance(y, bool) or not isinstance(x, int | float) or not isinstance(y, int | float):
        return None
    try:
        found = float(x), float(y)
    except OverflowError:
        return None
    return found if all(map(math.isfinite, found)) else None
