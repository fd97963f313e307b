"""Where values and streams come from, seen through groups and bypassed nodes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from innkeeper.workflow.checking.bypass import passed_streams
from innkeeper.workflow.checking.graph import Constant, GraphNode, Origin, Source
from innkeeper.workflow.checking.order import MOST_CYCLES, cycle_text
from innkeeper.workflow.checking.placed import GroupNode, Template
from innkeeper.workflow.checking.problems import Problems
from innkeeper.workflow.formats.parts import MAX_EDGES

NOTHING_FLOWS = Constant(None, "")
"""The origin of a stream that ends at once, since the node that it would come from is bypassed."""

_MOST = 5 * MAX_EDGES
"""Origins that are followed in all: each edge, once more for each of some groups that it goes through. Groups that give
several values on to groups could make billions of a few edges."""


@dataclass(slots=True, eq=False)
class Instance:
    """A workflow put into a graph once.

    Attributes:
        template: the workflow.
        outer: the one that has it as a group, or None for that which the graph is of.
        place: id of the group's node in the outer one.
        ids: id of a node in the template to its id in the graph.
        inner: by a group's id in the template, what stands in its place.
    """

    template: Template
    outer: Instance | None = None
    place: str = ""
    ids: dict[str, str] = field(default_factory=dict)
    inner: dict[str, Instance] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Slot:
    """A slot of a node of an instance."""

    instance: Instance
    node: str
    key: str
    is_input: bool


class Origins:
    """Follows connections back to where they begin. Nothing here calls itself: a chain of groups may be as long as a
    workflow."""

    def __init__(self, problems: Problems) -> None:
        """Args:
        problems: gets cycles that only groups and bypassed nodes form, and what is beyond the bound.
        """
        self._problems = problems
        self._known: dict[_Slot, tuple[Origin, ...]] = {}
        self._passed: dict[int, dict[str, str]] = {}
        self._left = _MOST
        self._cycles = 0

    def of_input(self, instance: Instance, node: str, key: str) -> tuple[Origin, ...]:
        """The origins of an input, by the ids of the graph, in order."""
        return self._of(_Slot(instance, node, key, True))

    def of_output(self, instance: Instance, source: Source) -> tuple[Origin, ...]:
        """The origins of what a node's output gives: the output itself, unless the node is a group."""
        return self._of(_Slot(instance, source.node, source.slot, False))

    def _of(self, wanted: _Slot) -> tuple[Origin, ...]:
        known = self._known
        stack = [wanted]
        # The slots between the wanted one and the one that is looked at, in order.
        path: dict[_Slot, None] = {}
        while stack:
            slot = stack[-1]
            if slot in known:
                stack.pop()
                continue
            before = self._before(slot)
            if not isinstance(before, list):
                known[slot] = before
                continue
            if slot in path:
                del path[slot]
                known[slot] = self._joined(slot, before)
                continue
            path[slot] = None
            for each in before:
                if each in path:
                    self._cycle(path, each)
                elif each not in known:
                    stack.append(each)
        return known[wanted]

    def _before(self, slot: _Slot) -> list[_Slot] | tuple[Origin, ...]:
        """The slots that a slot gets what it has from, or where it begins."""
        instance, placed = slot.instance, slot.instance.template.nodes[slot.node]
        if slot.is_input:
            stream = placed.streams.get(slot.key)
            sources: Iterable[Origin] = (stream,) if stream is not None else placed.sources.get(slot.key, ())
            return [_Slot(instance, each.node, each.slot, False) for each in sources if isinstance(each, Source)]
        if isinstance(placed, GroupNode):
            result = placed.template.results.get(slot.key)
            inner = instance.inner[slot.node]
            return [] if result is None else [_Slot(inner, result.node, result.slot, False)]
        if placed.role == "input" and instance.outer is not None:
            return [_Slot(instance.outer, instance.place, slot.key, True)]
        if placed.role == "bypassed" and placed.outputs[slot.key].is_stream:
            key = self._passed_streams(placed).get(slot.key)
            return (NOTHING_FLOWS,) if key is None else [_Slot(instance, slot.node, key, True)]
        return (Source(instance.ids[slot.node], slot.key),)

    def _passed_streams(self, node: GraphNode) -> dict[str, str]:
        # Once for each node: one with as many streams as there may be takes tens of milliseconds.
        if id(node) not in self._passed:
            self._passed[id(node)] = passed_streams(node.definition, node.inputs, node.outputs, node.streams)
        return self._passed[id(node)]

    def _joined(self, slot: _Slot, before: list[_Slot]) -> tuple[Origin, ...]:
        found = [self._known.get(each, ()) for each in before]
        if len(found) == 1 and found[0]:
            return found[0]
        count = sum(map(len, found))
        if not self._follow(count):
            return ()
        return tuple(each for one in found for each in one) if count else self._constants(slot)

    def _constants(self, slot: _Slot) -> tuple[Origin, ...]:
        group = slot.instance.template.nodes[slot.node]
        if not slot.is_input or not isinstance(group, GroupNode):
            return ()
        declared = group.inputs[slot.key]
        value = group.presets.get(slot.key)
        if value is None:
            value = declared.config.get("default")
        if value is None or declared.is_stream:
            return ()
        if not (declared.multi and isinstance(value, list) and declared.data_flow_type != "ARRAY"):
            return (Constant(value, declared.data_flow_type),)
        # One list of a workflow is the value of each of the groups that it is in.
        return tuple(Constant(each, declared.data_flow_type) for each in value) if self._follow(len(value)) else ()

    def _follow(self, count: int) -> bool:
        """Whether so many more origins can be followed; if not, this is a problem."""
        self._left -= count
        if self._left < 0:
            self._problems.add("its groups pass on more connections and values than can be followed", once=True)
        return self._left >= 0

    def _cycle(self, path: Iterable[_Slot], again: _Slot) -> None:
        if self._cycles == MOST_CYCLES:
            return
        self._cycles += 1
        slots = list(path)
        names = [slot.instance.ids[slot.node] for slot in slots[slots.index(again) :]]
        cycle = [name for at, name in enumerate(names) if name != names[at - 1]] or names[:1]
        self._problems.add(cycle_text(cycle[::-1]), once=True)
