"""What a person sees of streams once a run is over: how many chunks there were, and the last of them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from innkeeper.cli.output import printable, write_out

if TYPE_CHECKING:
    from innkeeper.workflow.engine.events import Event
    from innkeeper.workflow.engine.outcome import RunOutcome

KEPT: Final = 8
"""Chunks of an interface output that are shown."""

MOST: Final = 300
"""Characters of each."""


class Tails:
    """The last chunks of the streams that a workflow gives back."""

    def __init__(self) -> None:
        self._last: dict[str, deque[Any]] = {}
        self._counts: dict[str, int] = {}

    def receive(self, event: Event) -> None:
        """Takes an event of the run."""
        payload = event["payload"]
        if event["type"] != "WORKFLOW_INTERFACE_YIELD" or payload["isLastChunk"]:
            return
        key = payload["interfaceOutputKey"]
        self._counts[key] = self._counts.get(key, 0) + 1
        self._last.setdefault(key, deque(maxlen=KEPT)).append(payload["yieldedContent"])

    def text(self, key: str) -> str | None:
        """What is shown of an interface output (str), or None where nothing flowed."""
        last = self._last.get(key)
        if last is None:
            return None
        left = self._counts[key] - len(last)
        before = f"... after {left:,} more chunks (--events has all of them)\n" if left else ""
        return before + "".join(map(chunk_text, last))


def chunk_text(chunk: Any) -> str:
    """A chunk as a person reads it (str): text as it is, other content as Python writes it, bounded."""
    content = chunk.get("content") if isinstance(chunk, dict) else chunk
    text = content[:MOST] if isinstance(content, str) else repr(content)[:MOST]
    return text if isinstance(content, str) else f"{text}\n"


def show_counts(outcome: RunOutcome) -> None:
    """A line for each stream output, with the number of its chunks."""
    for node in outcome.walk():
        for slot, count in node.chunks.items():
            chunks = "1 chunk" if count == 1 else f"{count:,} chunks"
            write_out(f"stream {printable(slot, 100)} of {printable(node.node, 200)}: {chunks}\n".encode())
