"""The order in which a workflow can run, and the cycles for which there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from innkeeper.workflow.checking.graph import topological_order
from innkeeper.workflow.checking.problems import Problems

MOST_CYCLES = 10
_SHOWN = 12
_SHOWN_ID = 60


def in_order(ids: Sequence[str], successors: Mapping[str, set[str]], problems: Problems) -> list[str]:
    """Node ids such that every edge leads forward, as `topological_order`; cycles become problems."""
    order = topological_order(ids, successors)
    if len(order) < len(ids):
        left = set(ids).difference(order)
        inner = {node: targets & left for node, targets in successors.items() if node in left}
        for cycle in cycles([node for node in ids if node in left], inner):
            problems.add(cycle_text(cycle))
    return order


def cycle_text(cycle: Sequence[str]) -> str:
    """What is said of a cycle (str): its nodes, by id, as far as a line has room."""
    names = [node if len(node) <= _SHOWN_ID else f"{node[: _SHOWN_ID - 3]}..." for node in cycle]
    shown = [repr(name) for name in names]
    if len(shown) > _SHOWN:
        shown = [*shown[: _SHOWN - 1], f"{len(shown) - _SHOWN} more", shown[-1]]
    return f"the nodes form a cycle: {' -> '.join([*shown, shown[0]])}"


def cycles(ids: Sequence[str], successors: Mapping[str, set[str]]) -> list[list[str]]:
    """Up to ten cycles of a graph: the node ids of each, in the order of its edges."""
    rank = {node: index for index, node in enumerate(ids)}
    sorted_targets = {node: sorted(targets, key=rank.__getitem__) for node, targets in successors.items()}
    found: list[list[str]] = []
    done: set[str] = set()
    for first in ids:
        if first in done:
            continue
        path: list[str] = []
        on_path: dict[str, int] = {}
        # Depth first without recursion: a chain may be as long as the graph.
        stack = [(first, iter(sorted_targets.get(first, ())))]
        path.append(first)
        on_path[first] = 0
        while stack:
            node, targets = stack[-1]
            for target in targets:
                if target in on_path:
                    found.append(path[on_path[target] :])
                    if len(found) == MOST_CYCLES:
                        return found
                elif target not in done:
                    on_path[target] = len(path)
                    path.append(target)
                    stack.append((target, iter(sorted_targets.get(target, ()))))
                    break
            else:
                stack.pop()
                done.add(path.pop())
                del on_path[node]
    return found
