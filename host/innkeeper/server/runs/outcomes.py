"""What became of a run's nodes, as its events say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import trio

from innkeeper.storage.run_events import StoredEvent
from innkeeper.storage.run_model import StoredRun
from innkeeper.storage.run_reading import RunReader
from innkeeper.workflow.engine.events import BYPASSED, COMPLETE, ERROR, EXECUTING, INTERFACE_OUTPUTS, RETRY, SKIPPED

MOST_NODES: Final = 10_000
"""Nodes that are told one by one, with those in groups and turns of loops; of more, only how many."""

MOST_EVENTS: Final = 200_000
"""Events that are read for one answer: loops may have millions, and who asks again has them read again."""

_MOST_MESSAGE: Final = 2000

_ENDED: Final = {COMPLETE: "complete", ERROR: "error", SKIPPED: "skipped", BYPASSED: "bypassed"}


@dataclass(slots=True)
class NodeState:
    """What became of a node.

    Attributes:
        status: "running", "complete", "error", "skipped", "bypassed"; "interrupted" where its run ended before it.
        began: seconds since 1970, or None where that is not known.
        seconds: that it took, or None.
        message: why it failed, or None.
        tries: how often it was called, or None where once.
    """

    status: str
    began: float | None = None
    seconds: float | None = None
    message: str | None = None
    tries: int | None = None


@dataclass(slots=True)
class Outcomes:
    """What became of the nodes.

    Attributes:
        nodes: by id, in the order in which they began.
        more: events of nodes that are not told one by one, and those that were not read.
    """

    nodes: dict[str, NodeState] = field(default_factory=dict)
    more: int = 0

    def take(self, events: Iterable[StoredEvent]) -> None:
        """Takes the next events."""
        for event in events:
            if event.kind == EXECUTING or event.kind == RETRY or event.kind in _ENDED:
                self._take(event)

    def end(self) -> None:
        """The run has ended: what still runs does not."""
        for node in self.nodes.values():
            if node.status == "running":
                node.status = "interrupted"

    def _take(self, event: StoredEvent) -> None:
        id = str(event.fields.get("nodeId"))
        if id == INTERFACE_OUTPUTS:
            return
        node = self.nodes.get(id)
        if node is None:
            if len(self.nodes) >= MOST_NODES:
                self.more += 1
                return
            node = self.nodes[id] = NodeState("running")
        if event.kind == EXECUTING:
            node.status, node.began, node.seconds, node.message = "running", event.at, None, None
            return
        if event.kind == RETRY:
            attempt = event.fields.get("attempt")
            node.tries = attempt + 1 if isinstance(attempt, int) else None
            return
        node.status = _ENDED[event.kind]
        if node.began is not None and event.at is not None:
            # The host's clock may have been set back meanwhile.
            node.seconds = max(0.0, event.at - node.began)
        if event.kind == ERROR:
            details = event.fields.get("errorDetails")
            said = details.get("message") if isinstance(details, dict) else details
            node.message = None if said is None else str(said)[:_MOST_MESSAGE]


async def outcomes_of(reader: RunReader, run: StoredRun) -> Outcomes:
    """What became of a run's nodes until now.

    Raises:
        RejectedError: what is kept of it is damaged.
    """
    found = Outcomes()
    after, read = 0, 0
    while True:
        events, upto = await reader.lifecycle(run.number, after)
        if upto == after:
            break
        # Thousands of them: others' requests wait for trio's thread.
        await trio.to_thread.run_sync(found.take, events)
        after, read = upto, read + len(events)
        if read > MOST_EVENTS:
            # How the nodes stand now is not known.
            found.more += max(0, run.seq - after)
            return found
    if run.ended is not None:
        found.end()
    return found
