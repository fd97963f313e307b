"""Whether every required input gets something, once groups are put in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from innkeeper.workflow.checking.graph import GROUP_INPUT, GraphNode, Origin, Source
from innkeeper.workflow.checking.origins import NOTHING_FLOWS, Instance, Origins
from innkeeper.workflow.checking.placed import GroupNode
from innkeeper.workflow.checking.problems import Problems

_UNCONNECTED = "the input is required: connect it or give it a value"
_OPEN_GROUP = "the input is required, and nothing is connected to the group's input that it comes from"
_NO_STREAM = "the input is a stream and required: connect it"
_OPEN_STREAM = "the input is a stream and required, and nothing flows into the interface's input that it comes from"


class Required:
    """Looks for what required inputs of one graph lack. What several groups of one workflow lack is said once."""

    def __init__(
        self, top: Instance, values: Mapping[str, Any], origins: Origins, problems: Problems, *, body: bool
    ) -> None:
        """Args:
        top: the workflow that the graph is of.
        values: of its interface inputs, those that there are.
        origins: of the graph.
        problems: gets what is missing.
        body: whether the interface inputs get their values later, from a loop.
        """
        self._top = top
        self._values = values
        self._origins = origins
        self._problems = problems
        self._body = body

    def of_node(self, instance: Instance, node: GraphNode, sources: Mapping[str, Sequence[Origin]]) -> None:
        """Looks at the inputs of a node; a bypassed one needs none.

        Args:
            instance: the node is of.
            node: as it is in its template.
            sources: of the node in the graph.
        """
        for key, slot in node.inputs.items():
            if not slot.required or node.role == "bypassed":
                continue
            if slot.is_stream:
                wrong = self._stream(instance, node, key)
            elif node.presets.get(key) is not None or slot.config.get("default") is not None:
                continue
            elif not node.sources.get(key):
                wrong = _UNCONNECTED
            else:
                wrong = self._values_of(sources.get(key, ()))
            if wrong is not None:
                self._say(instance, node.id, key, wrong)

    def of_groups(self, instance: Instance) -> None:
        """Looks at the inputs of the groups in an instance."""
        for node in instance.template.nodes.values():
            if not isinstance(node, GroupNode):
                continue
            for key, slot in node.inputs.items():
                given = key in node.sources or key in node.streams or node.presets.get(key) is not None
                if slot.required and not given and slot.config.get("default") is None:
                    self._say(instance, node.id, key, _UNCONNECTED)

    def _values_of(self, sources: Sequence[Origin]) -> str | None:
        if not sources:
            return _OPEN_GROUP
        if self._body:
            return None
        empty = [
            source.slot
            for source in sources
            if isinstance(source, Source) and is_interface(self._top, source) and source.slot not in self._values
        ]
        # One that is required itself has been named already.
        if len(empty) < len(sources) or any(self._top.template.inputs[each].required for each in empty):
            return None
        return (
            f"the input is required, and the interface input {empty[0]!r} has no value; give it with "
            f"--input {empty[0]}=VALUE"
        )

    def _stream(self, instance: Instance, node: GraphNode, key: str) -> str | None:
        if key not in node.streams:
            return _NO_STREAM
        origins = self._origins.of_input(instance, node.id, key)
        # A stream that ends at once, since a node is bypassed, is one.
        flows = any(
            origin is NOTHING_FLOWS or (isinstance(origin, Source) and not is_interface(self._top, origin))
            for origin in origins
        )
        return None if flows else _OPEN_STREAM

    def _say(self, instance: Instance, node: str, key: str, text: str) -> None:
        with self._problems.inside(instance.template.id):
            self._problems.add(text, node, f"input {key!r}", once=True)


def is_interface(top: Instance, source: Source) -> bool:
    """Whether an origin is an input of the interface of the workflow that a graph is of (bool)."""
    node = top.template.nodes.get(source.node)
    return node is not None and node.full_type == GROUP_INPUT
