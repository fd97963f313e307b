"""How far down each node stands, so that edges are short and straight and no two nodes of a layer overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_ROUNDS = 8


def settled(wanted: Sequence[float], sizes: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Tops of boxes that stand below one another in this order, nearest to where each wants to be: the least sum of
    weighted squares (pool adjacent violators).

    Args:
        wanted: where the top of each would like to be.
        sizes: height of each, with the gap below it.
        weights: above 0; how much each cares.
    """
    offsets = [0.0]
    for size in sizes[:-1]:
        offsets.append(offsets[-1] + size)
    # Blocks of boxes that touch: where the first would be, what they weigh together, and how many they are.
    blocks: list[tuple[float, float, int]] = []
    for index, weight in enumerate(weights):
        at, many = wanted[index] - offsets[index], 1
        while blocks and blocks[-1][0] >= at:
            before, its, of = blocks.pop()
            at, weight, many = (before * its + at * weight) / (its + weight), its + weight, of + many
        blocks.append((at, weight, many))
    tops: list[float] = []
    for at, _, many in blocks:
        tops += [at + offsets[len(tops) + index] for index in range(many)]
    return tops


def tops_of(
    layers: Sequence[Sequence[int]],
    sizes: Mapping[int, float],
    weights: Mapping[int, float],
    pieces: Sequence[tuple[int, float, int, float]],
) -> dict[int, float]:
    """The top of each node, by number; the least is 0.

    Args:
        layers: nodes from top to bottom.
        sizes: height of each, with the gap below it.
        weights: how much each cares to be in line with its neighbours.
        pieces: pieces of edges between neighbouring layers, as (source, pixels below its top, target, pixels below its
            top).
    """
    before: dict[int, list[tuple[int, float]]] = {}
    behind: dict[int, list[tuple[int, float]]] = {}
    for source, out, target, into in pieces:
        before.setdefault(target, []).append((source, out - into))
        behind.setdefault(source, []).append((target, into - out))
    tops: dict[int, float] = {}
    for layer in layers:
        at = 0.0
        for node in layer:
            tops[node] = at
            at += sizes[node]
    for turn in range(_ROUNDS):
        down = turn % 2 == 0
        # The last turns look both ways.
        ways = (before, behind) if turn >= _ROUNDS - 2 else (before,) if down else (behind,)
        for layer in layers if down else reversed(layers):
            wanted = []
            for node in layer:
                aims = [tops[other] + shift for way in ways for other, shift in way.get(node, ())]
                wanted.append(sum(aims) / len(aims) if aims else tops[node])
            found = settled(wanted, [sizes[node] for node in layer], [weights[node] for node in layer])
            tops.update(zip(layer, found, strict=True))
    least = min(tops.values(), default=0.0)
    return {node: top - least for node, top in tops.items()}
