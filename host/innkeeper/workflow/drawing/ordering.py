"""The order of the nodes within each layer, so that few edges cross: barycentres, swept to and fro."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence

Ends = tuple[int, float, int, float]
"""A piece of an edge between neighbouring layers: source, where on it (0 to 1), target, where on it (0 to 1)."""

_SWEEPS = 12
_MANY = 5000
"""Pieces of edges above which fewer sweeps have to do."""


def ordered(layers: Sequence[Sequence[int]], pieces: Sequence[Ends]) -> list[list[int]]:
    """The layers with their nodes in an order with few crossings (list of lists).

    Args:
        layers: the nodes of each, as numbers, in the order to begin with.
        pieces: each leads from a layer to the next.
    """
    before: dict[int, list[tuple[int, float]]] = {}
    behind: dict[int, list[tuple[int, float]]] = {}
    for source, out, target, into in pieces:
        before.setdefault(target, []).append((source, out))
        behind.setdefault(source, []).append((target, into))
    current = [list(layer) for layer in layers]
    best, fewest = [list(layer) for layer in current], _crossings(current, pieces)
    for sweep in range(_SWEEPS if len(pieces) < _MANY else 4):
        if fewest == 0:
            break
        down = sweep % 2 == 0
        neighbours = before if down else behind
        for index in range(len(current)) if down else reversed(range(len(current))):
            beside = index - 1 if down else index + 1
            if 0 <= beside < len(current):
                rank = {node: place for place, node in enumerate(current[beside])}
                _sort(current[index], rank, neighbours)
        found = _crossings(current, pieces)
        if found < fewest:
            best, fewest = [list(layer) for layer in current], found
    return best


def _sort(layer: list[int], rank: Mapping[int, int], neighbours: Mapping[int, list[tuple[int, float]]]) -> None:
    def centre(place: int) -> float:
        ends = neighbours.get(layer[place])
        if not ends:
            # It stays about where it is.
            return place * len(rank) / len(layer)
        return sum(rank[node] + at for node, at in ends) / len(ends)

    centres = {node: centre(place) for place, node in enumerate(layer)}
    layer.sort(key=centres.__getitem__)


def _crossings(layers: Sequence[Sequence[int]], pieces: Sequence[Ends]) -> int:
    rank = {node: place for layer in layers for place, node in enumerate(layer)}
    number = {node: index for index, layer in enumerate(layers) for node in layer}
    between: dict[int, list[tuple[float, float]]] = {}
    for source, out, target, into in pieces:
        between.setdefault(number[source], []).append((rank[source] + out, rank[target] + into))
    count = 0
    for ends in between.values():
        ends.sort()
        # Inversions: how many that began before end further on.
        seen: list[float] = []
        for _, end in ends:
            count += len(seen) - bisect_right(seen, end)
            insort(seen, end)
    return count
