"""What is said of a run while it goes on, and who takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgpack

from innkeeper.workflow.engine.call import plain

ACCEPTED = "PROMPT_ACCEPTED_RESPONSE"
STATUS = "EXECUTION_STATUS_UPDATE"
EXECUTING = "NODE_EXECUTING"
COMPLETE = "NODE_COMPLETE"
ERROR = "NODE_ERROR"
YIELD = "NODE_YIELD"
BYPASSED = "NODE_BYPASSED"
INTERFACE_YIELD = "WORKFLOW_INTERFACE_YIELD"
SKIPPED = "NODE_SKIPPED"
RETRY = "NODE_RETRY"
LOG = "NODE_LOG"

INTERFACE_OUTPUTS = "__WORKFLOW_INTERFACE_OUTPUTS__"
"""Id of the pseudo node whose NODE_COMPLETE carries the workflow's own outputs."""

VALUES = {COMPLETE: "output", BYPASSED: "pseudoOutputs"}


@dataclass(slots=True)
class RunEvent:
    """One event, which nobody changes. Values stay as msgpack, so that none is built for nobody.

    Attributes:
        seq: its number in its run; each is one more than the one before.
        kind: its type on the wire.
        fields: its payload besides the run's id and the values, as plain data that nobody changes.
        values: of NODE_COMPLETE and NODE_BYPASSED, the outputs by key.
        chunk: of NODE_YIELD and WORKFLOW_INTERFACE_YIELD, the chunk's payload; of NODE_LOG, level and text. Of these
            the oldest may go while the run is still kept.
        at: when it was said, in seconds since 1970 by the clock of the host that said it; None where this was not kept.
    """

    seq: int
    kind: str
    fields: Mapping[str, Any]
    values: Mapping[str, bytes] = field(default_factory=dict)
    chunk: bytes | None = None
    at: float | None = None

    @property
    def size(self) -> int:
        """Bytes that it takes, about (int)."""
        # A chunk has no values, and there may be millions of them.
        return 256 + len(self.chunk) if self.chunk is not None else 256 + sum(map(len, self.values.values()))


class EventSink(Protocol):
    """Takes the events of one run, in order."""

    def emit(self, event: RunEvent) -> None:
        """Takes one; never waits. What it raises ends the run."""
        ...

    async def room(self) -> None:
        """Returns when more may be emitted, mostly at once. Whoever emits much asks before each 128 events, or MiB of
        them."""
        ...

    async def settled(self) -> None:
        """Returns when all that was emitted so far is kept for good, where it is kept at all."""
        ...


Event = dict[str, Any]
"""An event as clients get it: {"type": ..., "seq": ..., "timestamp": ..., "payload": {"promptId": ..., ...}}. The
timestamp (seconds since 1970) is left out where it is not known."""


def wire_event(event: RunEvent, prompt_id: str, built: Mapping[str, Any] | None = None) -> Event:
    """An event as clients get it, built anew.

    Args:
        event: the event.
        prompt_id: the run's id.
        built: its values as plain data, if somebody has built them already.
    """
    payload: dict[str, Any] = {"promptId": prompt_id, **event.fields}
    if event.kind in VALUES:
        if built is None:
            built = {key: plain(value) for key, value in event.values.items()}
        payload[VALUES[event.kind]] = built
    if event.kind == LOG and event.chunk is not None:
        payload["level"], payload["text"] = msgpack.unpackb(event.chunk)
    elif event.chunk is not None:
        payload["yieldedContent"] = msgpack.unpackb(event.chunk)
    when = {} if event.at is None else {"timestamp": event.at}
    return {"type": event.kind, "seq": event.seq, **when, "payload": payload}
