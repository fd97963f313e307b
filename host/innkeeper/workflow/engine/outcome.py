"""What became of a run and of each of its nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from innkeeper.errors import InnkeeperError
from innkeeper.sandbox.usage import Usage
from innkeeper.workflow.engine.call import plain

Status = Literal["queued", "running", "complete", "error", "skipped", "interrupted"]

Reason = Literal["failed", "untaken", "bypassed"]
"""Why a node was skipped: something before it failed; it is on a branch that was not taken; its author wants so."""


_NONE: Mapping[str, Any] = {}
"""What most nodes have of most things: a run of ten thousand need not make as many."""


def _none() -> Mapping[str, Any]:
    return _NONE


@dataclass(slots=True)
class NodeOutcome:
    """What became of one node.

    Attributes:
        node: its id in the run; within a turn of a loop, `LOOP[TURN]/INNER`.
        type: "namespace:type".
        plugin: id of the plugin that ran it, or None for the engine's own nodes.
        status: as ComfyTavern names it.
        usage: what its call cost, the last one where it was called several times, or None where there was none.
        error: why it failed, or None.
        encoded: its outputs by key, as msgpack.
        native: whether it is Python code of the host's own process, with all rights of the host.
        handled: whether it failed and its error output says so, which does not fail the run.
        reason: why it was skipped, or None.
        cause: of a skipped node, id of the node that failed or that did not take the branch.
        tries: calls that were made.
        turns: of a loop, turns that ended.
        inner: of a loop, what became of the nodes of its last turn, or of the first that failed; by their ids.
        chunks: of a node with streams, per stream output how many chunks it gave.
        untaken: of a node that ran or was bypassed, the outputs that are branches not taken.
    """

    node: str
    type: str
    plugin: str | None
    status: Status = "queued"
    usage: Usage | None = None
    error: InnkeeperError | None = None
    encoded: Mapping[str, bytes] = field(default_factory=_none)
    native: bool = False
    handled: bool = False
    reason: Reason | None = None
    cause: str | None = None
    tries: int = 0
    turns: int = 0
    inner: Mapping[str, NodeOutcome] = field(default_factory=_none)
    chunks: Mapping[str, int] = field(default_factory=_none)
    untaken: frozenset[str] = frozenset()

    def outputs(self) -> dict[str, Any]:
        """Its outputs by key, as plain data, built anew by each call."""
        return {key: plain(value) for key, value in self.encoded.items()}

    @property
    def failed(self) -> bool:
        """Whether whatever needs an output of it cannot run (bool): it failed unhandled, or so did something before
        it."""
        return self.reason == "failed" or (self.status == "error" and not self.handled)

    def untook(self, slot: str) -> bool:
        """Whether an output is on a branch that was not taken (bool)."""
        return self.reason == "untaken" or slot in self.untaken


@dataclass(slots=True)
class RunOutcome:
    """What became of a run.

    Attributes:
        prompt_id: the run's id.
        status: "complete", "error" (a node failed, and its error output did not take it) or "interrupted"; "running"
            until then.
        outputs: the workflow's interface outputs by key, as plain data: those that have a value, and placeholders for
            streams ({"type": "stream_placeholder", "message"}) and for what failed ("error_placeholder"). Those that
            come from one output of a node are one object.
        nodes: id to outcome, in graph order: topological, ties in the order of the payload.
        error: why the run failed though its nodes did not, or None: its interface outputs are too large together.
            Those of the nodes are still there.
        encoded: `outputs` as msgpack, by key.
        placed: of the outputs that have a placeholder, what it says.
    """

    prompt_id: str
    status: Status
    outputs: dict[str, Any]
    nodes: dict[str, NodeOutcome]
    error: InnkeeperError | None = None
    encoded: Mapping[str, bytes] = field(default_factory=dict)
    placed: Mapping[str, str] = field(default_factory=dict)

    @property
    def failures(self) -> list[NodeOutcome]:
        """The nodes that failed unhandled, in graph order."""
        return [node for node in self.nodes.values() if node.status == "error" and not node.handled]

    @property
    def first_error(self) -> InnkeeperError | None:
        """The error of the first node in graph order that failed unhandled, else that of the run itself, or None."""
        return next((node.error for node in self.failures if node.error is not None), self.error)

    def walk(self) -> Iterator[NodeOutcome]:
        """All nodes, those of loops' last turns after their loop."""
        stack = [iter(self.nodes.values())]
        while stack:
            node = next(stack[-1], None)
            if node is None:
                stack.pop()
                continue
            yield node
            if node.inner:
                stack.append(iter(node.inner.values()))
