"""Puts the nodes of a graph into layers, so that edges lead from left to right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Edge = tuple[int, int]


def forward_edges(count: int, edges: Iterable[Edge]) -> list[Edge]:
    """The edges without those that would close a cycle, each pair once (list), in linear time.

    Args:
        count: how many nodes there are; they are numbers below it.
        edges: from node to node.
    """
    targets: list[list[int]] = [[] for _ in range(count)]
    for source, target in dict.fromkeys(edges):
        if source != target:
            targets[source].append(target)
    new, open_, done = 0, 1, 2
    state = [new] * count
    kept: list[Edge] = []
    for first in range(count):
        if state[first] != new:
            continue
        state[first] = open_
        # Without recursion: a chain may be as long as the graph.
        stack = [(first, iter(targets[first]))]
        while stack:
            node, rest = stack[-1]
            for target in rest:
                if state[target] == open_:
                    continue
                kept.append((node, target))
                if state[target] == new:
                    state[target] = open_
                    stack.append((target, iter(targets[target])))
                    break
            else:
                stack.pop()
                state[node] = done
    return kept


def layers_of(count: int, edges: Sequence[Edge]) -> list[int]:
    """The layer of each node (list of int, from 0): behind all that lead to it, and what nothing leads to stands just
    before what needs it.

    Args:
        count: how many nodes there are.
        edges: without cycles, as `forward_edges` gives them.
    """
    targets: list[list[int]] = [[] for _ in range(count)]
    waiting = [0] * count
    for source, target in edges:
        targets[source].append(target)
        waiting[target] += 1
    first = [waiting[node] == 0 for node in range(count)]
    layer = [0] * count
    ready = [node for node in range(count) if first[node]]
    # It grows meanwhile.
    for node in ready:
        for target in targets[node]:
            layer[target] = max(layer[target], layer[node] + 1)
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    for node in range(count):
        if first[node] and targets[node]:
            layer[node] = min(layer[target] for target in targets[node]) - 1
    return layer
