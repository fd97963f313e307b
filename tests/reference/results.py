"""What the reference says of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["complete", "error", "skipped"]
Reason = Literal["", "failed", "untaken", "bypassed"]


@dataclass(frozen=True)
class Value:
    """An output that has a value."""

    data: Any


@dataclass(frozen=True)
class Chunks:
    """An output whose stream ended well."""

    items: tuple[Any, ...]


@dataclass(frozen=True)
class Nothing:
    """An output that has no value."""


@dataclass(frozen=True)
class Untaken:
    """An output of a branch that was not taken."""


@dataclass(frozen=True)
class Failed:
    """An output of what failed, or of what needed it."""


Result = Value | Chunks | Nothing | Untaken | Failed


@dataclass(frozen=True)
class Failure:
    """Why a node failed."""

    kind: str
    node: str
    message: str


class BrokenError(Exception):
    """A function failed."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass
class Report:
    """What became of a node.

    Attributes:
        status: how it ended.
        reason: why it was skipped.
        outputs: by key.
        chunks: per stream output, what it wrote, also where it failed later.
        inputs: what its function got, or None where none was called.
        failure: why it failed.
        handled: whether its error output took the failure.
        tries: how often its function was called.
        causes: ids of nodes that may be named as why it was skipped: the direct ones, and those at the beginning.
    """

    status: Status
    reason: Reason = ""
    outputs: dict[str, Result] = field(default_factory=dict)
    chunks: dict[str, list[Any]] = field(default_factory=dict)
    inputs: dict[str, Any] | None = None
    failure: Failure | None = None
    handled: bool = False
    tries: int = 0
    causes: frozenset[str] = frozenset()

    def values(self) -> dict[str, Any]:
        """Its outputs that have a value."""
        return {key: each.data for key, each in self.outputs.items() if isinstance(each, Value)}


@dataclass
class Expected:
    """What becomes of a run.

    Attributes:
        status: "complete" or "error".
        nodes: by flattened id, those in turns of loops included.
        possible: nodes of turns that may have been under way when another turn failed.
        order: the flattened ids of the workflow itself in graph order.
        outputs: the interface outputs by key.
        failure: the first in graph order that no error output took.
    """

    status: Status
    nodes: dict[str, Report]
    possible: dict[str, Report]
    order: list[str]
    outputs: dict[str, Result]
    failure: Failure | None


def given(value: Any) -> Result:
    """What an output is that has a value, or none."""
    return Nothing() if value is None else Value(value)


def items(results: list[Result]) -> tuple[Any, ...]:
    """The chunks of a stream input, which takes one edge."""
    return results[0].items if results and isinstance(results[0], Chunks) else ()
