"""What became of a run and of each of its nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from innkeeper.errors import InnkeeperError
from innkeeper.sandbox.usage import Usage
from innkeeper.workflow.engine.call import plain

Status = Literal["queued", "running", "complete", "error", "skipped", "interrupted"]


@dataclass(slots=True)
class NodeOutcome:
    """What became of one node.

    Attributes:
        node: its id.
        type: "namespace:type".
        plugin: id of the plugin that ran it, or None for the engine's own nodes.
        status: as ComfyTavern names it.
        usage: what its call cost, or None where there was none.
        error: why it failed, or None.
        encoded: its outputs by key, as msgpack.
        native: whether it is Python code of the host's own process, with all rights of the host.
    """

    node: str
    type: str
    plugin: str | None
    status: Status = "queued"
    usage: Usage | None = None
    error: InnkeeperError | None = None
    encoded: Mapping[str, bytes] = field(default_factory=dict)
    native: bool = False

    def outputs(self) -> dict[str, Any]:
        """Its outputs by key, as plain data, built anew by each call."""
        return {key: plain(value) for key, value in self.encoded.items()}


@dataclass(slots=True)
class RunOutcome:
    """What became of a run.

    Attributes:
        prompt_id: the run's id.
        status: "complete", "error" (a node failed) or "interrupted"; "running" until then.
        outputs: the workflow's interface outputs that have a value, by key, as plain data; those that come from one
            output of a node are one object.
        nodes: id to outcome, in graph order: topological, ties in the order of the payload.
        error: why the run failed though its nodes did not, or None: its interface outputs are too large together.
            Those of the nodes are still there.
    """

    prompt_id: str
    status: Status
    outputs: dict[str, Any]
    nodes: dict[str, NodeOutcome]
    error: InnkeeperError | None = None

    @property
    def first_error(self) -> InnkeeperError | None:
        """The error of the first failed node in graph order, else that of the run itself, or None."""
        return next((node.error for node in self.nodes.values() if node.error is not None), self.error)
