"""Which nodes begin together, since streams connect them, and which streams have to be held meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from innkeeper.workflow.checking.graph import GraphNode, Source
from innkeeper.workflow.checking.problems import Problems

MAX_STREAM_EDGES = 1000
"""Streams of one workflow: each is a task and a channel while it flows, and is checked against all others."""

MAX_STREAM_GROUP = 256
"""Nodes that streams connect: all of them run at the same time."""


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What `Graph` says of the same names."""

    stream_groups: tuple[tuple[str, ...], ...] = ()
    late: frozenset[tuple[str, str]] = frozenset()


def plan_streams(nodes: Mapping[str, GraphNode], problems: Problems) -> StreamPlan:
    """Finds the groups of nodes that begin together.

    Nodes with a stream between them begin together, when the values that all of them need are there. A stream is late
    where that could never be: where a way from its producer to its consumer has a value in it. On such a way every
    connection may be gone forwards, and streams that are not late backwards as well, since what they connect begins
    together. Whichever order streams are looked at in, no group then waits for itself: of a circle of waiting, the
    stream that was looked at last would have been late.

    Args:
        nodes: id to node, in an order in which they can run.
        problems: gets groups that are too large.
    """
    edges = [(source.node, node.id, key) for node in nodes.values() for key, source in node.streams.items()]
    edges = [edge for edge in edges if nodes[edge[0]].role == "plugin"]
    if not edges:
        return StreamPlan()
    ends = list(dict.fromkeys(id_ for producer, consumer, _ in edges for id_ in (producer, consumer)))
    ways = _Ways(nodes, ends)
    late: set[tuple[str, str]] = set()
    for producer, consumer, _ in edges:
        ways.streams[ways.place[producer]] |= 1 << ways.place[consumer]
    together = {id_: id_ for id_ in ends}
    for producer, consumer, key in edges:
        if ways.with_a_value(producer, consumer):
            late.add((consumer, key))
        else:
            ways.streams[ways.place[consumer]] |= 1 << ways.place[producer]
            together[_first(together, producer)] = _first(together, consumer)
    groups: dict[str, list[str]] = {}
    for id_ in nodes:
        if id_ in together:
            groups.setdefault(_first(together, id_), []).append(id_)
    for group in groups.values():
        if len(group) > MAX_STREAM_GROUP:
            problems.add(
                f"streams connect {len(group):,} nodes, which all run at the same time; at most {MAX_STREAM_GROUP} may",
                group[0],
            )
    # Whose only streams are late begins by itself, as every other node.
    return StreamPlan(tuple(tuple(group) for group in groups.values() if len(group) > 1), frozenset(late))


def _first(together: dict[str, str], id_: str) -> str:
    while together[id_] != id_:
        together[id_] = together[together[id_]]
        id_ = together[id_]
    return id_


class _Ways:
    """Ways between the nodes that have streams. Sets of these nodes are bits of an integer: a graph may have ten
    thousand nodes, and one look at it for each stream would take minutes.

    Attributes:
        place: id of such a node to its bit.
        streams: per node, the nodes that a stream leads to.
        values: per node, the nodes that a way of values leads to.
    """

    def __init__(self, nodes: Mapping[str, GraphNode], ends: list[str]) -> None:
        self.place = {id_: at for at, id_ in enumerate(ends)}
        self.streams = [0] * len(ends)
        reached: dict[str, int] = {}
        for node in reversed(list(nodes.values())):
            here = reached.get(node.id, 0) | (1 << self.place[node.id] if node.id in self.place else 0)
            if here:
                for sources in node.sources.values():
                    for source in sources:
                        if isinstance(source, Source):
                            reached[source.node] = reached.get(source.node, 0) | here
        self.values = [reached.get(id_, 0) for id_ in ends]

    def with_a_value(self, producer: str, consumer: str) -> bool:
        """Whether a way with a value in it leads from one to the other."""
        wanted = 1 << self.place[consumer]
        near = self._closed(1 << self.place[producer], self.streams)
        far = 0
        for at in _bits(near):
            far |= self.values[at]
        return bool(far) and bool(self._closed(far, self.streams, self.values) & wanted)

    @staticmethod
    def _closed(start: int, *steps: list[int]) -> int:
        seen = ahead = start
        while ahead:
            found = 0
            for at in _bits(ahead):
                for step in steps:
                    found |= step[at]
            ahead = found & ~seen
            seen |= ahead
        return seen


def _bits(number: int) -> list[int]:
    """The places of the ones in a number."""
    found = []
    while number:
        low = number & -number
        found.append(low.bit_length() - 1)
        number ^= low
    return found
