"""What is known of a run that is watched: its nodes with those of groups and turns of loops, as its events say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack

from innkeeper.workflow.engine.events import (
    BYPASSED,
    COMPLETE,
    ERROR,
    EXECUTING,
    INTERFACE_OUTPUTS,
    INTERFACE_YIELD,
    RETRY,
    SKIPPED,
    STATUS,
    YIELD,
    RunEvent,
)

MOST_NODES: Final = 20_000
"""Nodes that are known one by one; beyond, those that have ended are only counted, the oldest first."""

MOST_DEPTH: Final = 40
"""Groups, loops and turns that are drawn within each other; what is deeper is one name. Workflows are 16 deep at most,
but an author's own ids may have as many strokes as they like."""

MOST_STREAMS: Final = 200
MOST_TAIL: Final = 120
"""Characters of the last chunks of a stream that are kept."""

_LARGE = 64 << 10

_PART = re.compile(r"(?P<name>.*)\[(?P<turn>[0-9]{1,9})\]", re.DOTALL)
_PROGRESS = "NODE_PROGRESS"
_ENDED: Final = {COMPLETE: "complete", ERROR: "error", SKIPPED: "skipped", BYPASSED: "bypassed"}


@dataclass(slots=True)
class Watched:
    """A node.

    Attributes:
        id: its id, with the groups and turns that it is in.
        status: "running", "complete", "error", "skipped", "bypassed"; "interrupted" where the run ended before it.
        began: seconds since 1970, or None where that is not known.
        took: seconds, or None.
        note: why it failed or was skipped, or how far it is.
    """

    id: str
    status: str = "running"
    began: float | None = None
    took: float | None = None
    note: str = ""


@dataclass(slots=True)
class Flowing:
    """A stream.

    Attributes:
        chunks: how many came.
        tail: the end of what came, as text.
        ended: whether it is over.
    """

    chunks: int = 0
    tail: str = ""
    ended: bool = False


@dataclass(slots=True)
class Tree:
    """A run.

    Attributes:
        status: of the run: "queued" until something is said.
        nodes: by id, in the order in which they began.
        streams: by the node and slot, or by the key of the workflow's output.
        seq: number of the last event.
        dropped: how many nodes that ended are not known one by one, by status.
        gone: how many events are not kept any more.
    """

    status: str = "queued"
    nodes: dict[str, Watched] = field(default_factory=dict)
    streams: dict[str, Flowing] = field(default_factory=dict)
    seq: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    gone: int = 0

    def take(self, event: RunEvent) -> None:
        """Takes the next event."""
        self.seq = event.seq
        fields = event.fields
        if event.kind == STATUS:
            self.status = str(fields.get("status", self.status))
            if self.status in ("interrupted", "error"):
                for node in self.nodes.values():
                    if node.status == "running":
                        node.status = "interrupted"
        elif event.kind in (YIELD, INTERFACE_YIELD):
            self._flow(event)
        elif event.kind == EXECUTING:
            node = Watched(str(fields.get("nodeId")), began=event.at)
            # Behind those that began before, also where it is called again after a crash.
            self.nodes.pop(node.id, None)
            self.nodes[node.id] = node
            self._bound()
        elif event.kind in _ENDED or event.kind in (RETRY, _PROGRESS):
            self._node(event)

    def counts(self) -> Counter[str]:
        """How many nodes there are, by status."""
        found = Counter(self.dropped)
        found.update(node.status for node in self.nodes.values())
        return found

    def _node(self, event: RunEvent) -> None:
        id = str(event.fields.get("nodeId"))
        if id == INTERFACE_OUTPUTS:
            return
        node = self.nodes.setdefault(id, Watched(id))
        if event.kind == RETRY:
            node.note = f"attempt {event.fields.get('attempt')} of it failed; again"
        elif event.kind == _PROGRESS:
            node.note = f"{event.fields.get('value')} of {event.fields.get('max')}"
        else:
            node.status = _ENDED[event.kind]
            node.note = _why(event)
            if node.began is not None and event.at is not None:
                # The host's clock may have been set back meanwhile.
                node.took = max(0.0, event.at - node.began)
        self._bound()

    def _bound(self) -> None:
        if len(self.nodes) <= MOST_NODES:
            return
        for id in [id for id, node in self.nodes.items() if node.status != "running"][: MOST_NODES // 4]:
            self.dropped[self.nodes.pop(id).status] += 1

    def _flow(self, event: RunEvent) -> None:
        fields = event.fields
        if event.kind == YIELD:
            slot = fields.get("slot")
            key = str(fields.get("sourceNodeId")) + (f".{slot}" if slot else "")
        else:
            key = f"output {fields.get('interfaceOutputKey')}"
        if key not in self.streams and len(self.streams) >= MOST_STREAMS:
            return
        flow = self.streams.setdefault(key, Flowing())
        if fields.get("isLastChunk"):
            flow.ended = True
            return
        flow.chunks += 1
        flow.tail = (flow.tail + chunk_text(event.chunk))[-MOST_TAIL:]


def chunk_text(chunk: bytes | None) -> str:
    """A chunk of a stream as text for people; of what is no text, a short sign."""
    if chunk is None:
        return ""
    if len(chunk) > _LARGE:
        return f"({len(chunk):,} bytes)"
    try:
        value: Any = msgpack.unpackb(chunk, unicode_errors="replace", strict_map_key=False)
    except ValueError:
        return "(?)"
    content = value.get("content") if isinstance(value, dict) else value
    if isinstance(content, str):
        return content
    return f"({str(content)[:60]})"


def _why(event: RunEvent) -> str:
    fields = event.fields
    if event.kind == ERROR:
        details = fields.get("errorDetails")
        said = details.get("message") if isinstance(details, dict) else details
        return f"{said}{' (handled)' if fields.get('handled') else ''}"
    if event.kind == SKIPPED:
        cause = fields.get("cause")
        why = "failed" if fields.get("reason") == "failed" else "was not taken"
        return f"since {cause} {why}" if cause else ""
    return ""


# --- as a tree --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Branch:
    """A node, a group, a loop or a turn of one, with what is in it.

    Attributes:
        name: what it is called there.
        node: the node itself, where it said something.
        inside: by name.
        counts: nodes in it, by status, itself apart.
    """

    name: str
    node: Watched | None = None
    inside: dict[str, Branch] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def busy(self) -> bool:
        """Whether something in it runs or failed (bool)."""
        own = self.node is not None and self.node.status in ("running", "error")
        return own or bool(self.counts["running"] or self.counts["error"])


def branches(tree: Tree) -> Branch:
    """The nodes of a run by groups, loops and turns, as their ids say."""
    root = Branch("")
    for node in tree.nodes.values():
        at = root
        for part in _parts(node.id):
            at.counts[node.status] += 1
            at = at.inside.setdefault(part, Branch(part))
        at.node = node
    return root


def _parts(id: str) -> Iterator[str]:
    *above, last = id.split("/", MOST_DEPTH)
    for part in above:
        match = _PART.fullmatch(part)
        if match is None:
            yield part
        else:
            yield match["name"]
            yield f"[{match['turn']}]"
    yield last
