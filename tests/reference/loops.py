"""Loops: each turn is a run of the body with ids of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reference.levels import Level
from reference.reading import Node
from reference.results import BrokenError, Failure, Value

if TYPE_CHECKING:
    from reference.interpreter import Frame


def for_each(frame: Frame, level: Level, node: Node, values: dict[str, Any]) -> dict[str, Any]:
    """The outputs of a ForEach."""
    body, items = level.body(node), values.pop("items")
    most = node.config["maxIterations"]
    if len(items) > most:
        raise BrokenError("limit", f"{len(items)} items")
    collected: dict[str, list[Any]] = {key: [] for key in body.outputs}
    broken: tuple[int, Failure] | None = None
    for index, item in enumerate(items):
        given = {"item": item, "index": index}
        given = {**values, **{key: value for key, value in given.items() if key in body.inputs}}
        reports = frame.reports if broken is None else frame.run.possible
        turn, failure = frame.turn(level, node, index, given, reports)
        for key in body.outputs:
            result = turn.interface(key)
            collected[key].append(result.data if isinstance(result, Value) else None)
        if failure is not None and broken is None:
            broken = index, failure
            if node.config.get("parallel", 1) == 1:
                break
    if broken is not None:
        raise _of_turn(*broken)
    return collected


def while_true(frame: Frame, level: Level, node: Node, values: dict[str, Any]) -> dict[str, Any]:
    """The outputs of a While."""
    body = level.body(node)
    for index in range(node.config["maxIterations"]):
        turn, failure = frame.turn(level, node, index, values, frame.reports)
        if failure is not None:
            raise _of_turn(index, failure)
        results = {key: turn.interface(key) for key in body.outputs}
        outputs = {key: each.data for key, each in results.items() if isinstance(each, Value)}
        if outputs.get("continue") is not True:
            return outputs
        values = {**values, **{key: value for key, value in outputs.items() if key in body.inputs}}
    raise BrokenError("limit", "still true")


def _of_turn(index: int, failure: Failure) -> BrokenError:
    return BrokenError(failure.kind, f"turn {index}, node {failure.node}: {failure.message}")
