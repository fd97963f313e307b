"""What a node's inputs get from the nodes before it, or why it does not run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgpack

from innkeeper.bridge.codec import encode
from innkeeper.errors import GuestError
from innkeeper.plugins.nodes import InputDefinition
from innkeeper.workflow.checking.graph import Constant, GraphNode, Origin, Source
from innkeeper.workflow.checking.values import converted, default_of, from_json
from innkeeper.workflow.engine.outcome import NodeOutcome, Reason

NIL: Final = msgpack.packb(None)

_FEW: Final = 2000
"""Elements that are written within a fraction of a millisecond."""

_LONG: Final = 256
"""Characters of text that take as long as an element."""

_SHORT: Final = 1024
"""Bytes of an output up to which nobody asks whether it is new."""

Outcomes = Mapping[str, NodeOutcome]
"""What became of the nodes of a graph, by their ids in the graph."""


@dataclass(frozen=True, slots=True)
class Skip:
    """That a node does not run.

    Attributes:
        reason: why.
        cause: id of the node that is to blame.
    """

    reason: Reason
    cause: str | None


def skipped(node: GraphNode, outcomes: Outcomes) -> Skip | None:
    """Whether a node does not run, as far as those before it have ended. Where something failed, this is said first.

    The node that takes the workflow's outputs runs where at least one of them is not on a branch that was not taken.

    Args:
        node: the node.
        outcomes: of its graph.
    """
    untaken: Skip | None = None
    taken = False
    for sources in node.sources.values():
        open_ = not sources
        blamed: str | None = None
        for source in sources:
            if isinstance(source, Constant):
                open_ = True
                continue
            outcome = outcomes[source.node]
            if outcome.failed:
                return Skip("failed", _blamed(outcome))
            if not outcome.untook(source.slot):
                open_ = True
            elif blamed is None:
                blamed = _blamed(outcome)
        if open_:
            taken = taken or bool(sources)
        elif untaken is None:
            untaken = Skip("untaken", blamed)
    for source in node.streams.values():
        outcome = outcomes[source.node]
        if outcome.failed:
            return Skip("failed", _blamed(outcome))
        if not outcome.untook(source.slot):
            taken = True
        elif untaken is None:
            untaken = Skip("untaken", _blamed(outcome))
    return None if taken and node.role == "output" else untaken


def _blamed(outcome: NodeOutcome) -> str:
    return outcome.cause if outcome.cause is not None else outcome.node


def value_of(origin: Origin, outcomes: Outcomes) -> bytes | None:
    """The value (msgpack) that an origin has, or None where it has none."""
    if isinstance(origin, Constant):
        return None if origin.value is None else _written(origin.value, origin.data_flow_type)
    value = outcomes[origin.node].encoded.get(origin.slot)
    return None if value == NIL else value


def gathered(node: GraphNode, outcomes: Outcomes) -> dict[str, bytes | list[bytes]]:
    """The inputs of a node, all of whose origins have ended. Those of streams are not among them.

    Raises:
        GuestError: one is required and has no value; the message names it.
    """
    inputs: dict[str, bytes | list[bytes]] = {}
    for key, slot in node.inputs.items():
        if slot.is_stream:
            continue
        origins = node.sources.get(key, ())
        values = along(origins, slot, outcomes)
        if values:
            inputs[key] = values if slot.multi else values[0]
            continue
        given = node.presets.get(key)
        if given is None and slot.required:
            given = slot.config.get("default")
            if given is None:
                raise GuestError(f"the input {key!r} is required, and {_named(origins)} gave it no value")
        elif given is None:
            given = default_of(slot)
        if given is not None:
            if slot.multi and not isinstance(given, list):
                given = [given]
            inputs[key] = _written(given, slot.data_flow_type)
    return inputs


def interface_values(node: GraphNode, given: Mapping[str, bytes], values: Mapping[str, object]) -> dict[str, bytes]:
    """The outputs of the node that gives the interface inputs.

    Args:
        node: of the role "input".
        given: what a loop gives, as msgpack.
        values: JSON data for the others.
    """
    found = {key: value for key, value in given.items() if key in node.outputs}
    for key, value in values.items():
        if key in node.outputs:
            found[key] = _written(value, node.outputs[key].data_flow_type)
    return found


def new_bytes(node: GraphNode, values: Mapping[str, bytes], outcomes: Outcomes) -> int:
    """Bytes (int) of outputs of a node that calls no plugin, without those that are the very values of nodes before it.
    What an author gave once may be there for each of ten thousand nodes."""
    if max(map(len, values.values()), default=0) <= _SHORT:
        return sum(map(len, values.values()))
    known = set()
    for sources in node.sources.values():
        for each in sources:
            if isinstance(each, Source):
                known.add(id(outcomes[each.node].encoded.get(each.slot)))
    return sum(len(value) for value in values.values() if id(value) not in known)


def is_heavy(node: GraphNode) -> bool:
    """Whether gathering the inputs of a node takes more than a moment (bool), so that it belongs in a thread: since its
    author gave it much, or since very many edges lead to it."""
    if sum(map(len, node.sources.values())) > _FEW:
        return True
    for key, value in node.presets.items():
        if key in node.inputs and not (isinstance(value, str) and len(value) < _LONG):
            break
    else:
        if not any(isinstance(each, Constant) for found in node.sources.values() for each in found):
            # A few short texts at most, as most nodes have.
            return False
    given: list[object] = [value for key, value in node.presets.items() if key in node.inputs]
    given += [each.value for found in node.sources.values() for each in found if isinstance(each, Constant)]
    return bool(given) and are_heavy(given)


def are_heavy(values: Iterable[object]) -> bool:
    """Whether writing values (JSON data) takes more than a moment (bool)."""
    left = _FEW
    stack = list(values)
    while stack:
        value = stack.pop()
        if isinstance(value, str | bytes):
            left -= len(value) // _LONG
        elif isinstance(value, dict):
            left -= len(value)
            stack += value.values() if left > 0 else ()
        elif isinstance(value, list):
            left -= len(value)
            stack += value if left > 0 else ()
        if left <= 0:
            return True
    return False


def along(origins: list[Origin] | tuple[()], slot: InputDefinition, outcomes: Outcomes) -> list[bytes]:
    """The values that come to an input along its edges, in order; those that are absent are dropped."""
    found = []
    for origin in origins:
        value = value_of(origin, outcomes)
        if value is not None:
            found.append(converted(value, slot.data_flow_type))
    return found


def _named(origins: list[Origin] | tuple[()]) -> str:
    for origin in origins:
        if isinstance(origin, Source):
            return f"output {origin.slot!r} of node {origin.node!r}"
    return "nothing"


def _written(value: object, data_flow_type: str) -> bytes:
    return encode(from_json(value, data_flow_type), "msgpack")
