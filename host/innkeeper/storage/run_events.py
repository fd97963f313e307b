"""Events of runs as rows, inside of a transaction: packed by kind, results of nodes beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgpack
from sqlalchemy import Connection, bindparam, insert, update

from innkeeper.storage.many import insert_many
from innkeeper.storage.run_model import Fence
from innkeeper.storage.runs_schema import node_results, run_events, runs

LIFECYCLE: Final = "lifecycle"
CHUNKS: Final = "chunks"

STATUS: Final = "EXECUTION_STATUS_UPDATE"
INTERFACE: Final = "__WORKFLOW_INTERFACE_OUTPUTS__"

_BUFFER: Final = 4096
"""Bytes of a packer's buffer to begin with; it grows."""

ROW: Final = 256
"""Bytes that a row counts beside its body, so that many small ones count too."""


class Event(Protocol):
    """An event, as `workflow.engine.events.RunEvent` describes it."""

    @property
    def seq(self) -> int:
        """Its number in its run."""
        ...

    @property
    def kind(self) -> str:
        """Its type on the wire."""
        ...

    @property
    def fields(self) -> Mapping[str, Any]:
        """Its payload besides values and chunk."""
        ...

    @property
    def values(self) -> Mapping[str, bytes]:
        """Outputs by key, as msgpack."""
        ...

    @property
    def chunk(self) -> bytes | None:
        """A stream's chunk, as msgpack."""
        ...

    @property
    def at(self) -> float | None:
        """When it was said, in seconds since 1970; None where this is not known."""
        ...


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event that was kept; its attributes are those of `Event`."""

    seq: int
    kind: str
    fields: Mapping[str, Any]
    values: Mapping[str, bytes] = field(default_factory=dict)
    chunk: bytes | None = None
    at: float | None = None

    @classmethod
    def read(cls, row: Sequence[Any], values: Mapping[str, bytes] | None = None) -> StoredEvent:
        """An event as its row has it; those that were kept before events had times have none.

        Args:
            row: an element of the row's body.
            values: what is kept beside it; None: it is a chunk.
        """
        seq, kind, fields, *more = row
        chunk = more.pop(0) if values is None else None
        return cls(seq, kind, fields, values or {}, chunk, more[0] if more else None)


@dataclass(frozen=True, slots=True)
class Chunks:
    """A row of chunks.

    Attributes:
        upto: number of the last event of its flush.
        first: number of its first chunk.
        size: bytes that it counts.
    """

    upto: int
    first: int
    size: int


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        chunks: the row of chunks, if there is one.
        results: bytes of results.
    """

    chunks: Chunks | None
    results: int


def closing_event(seq: int, status: str, message: str | None, at: float) -> Event:
    """The last event of a run whose host did not say it."""
    fields: dict[str, Any] = {"status": status}
    if message:
        fields["errorInfo"] = {"message": message}
    return StoredEvent(seq, STATUS, fields, at=at)


# Built once: a host writes events some hundred times a second.
_EVENTS: Final = insert(run_events)
_MORE: Final[dict[str, Any]] = {"seq": bindparam("upto"), "kept": runs.c.kept + bindparam("more")}
_GROWN: Final = update(runs).where(runs.c.number == bindparam("its_number")).values(**_MORE)
_GROWN_FENCED: Final = (
    update(runs)
    .where(
        runs.c.number == bindparam("its_number"),
        runs.c.attempt == bindparam("its_attempt"),
        runs.c.holder == bindparam("its_holder"),
        runs.c.status == "running",
    )
    .values(**_MORE)
)


def write_events(
    connection: Connection,
    number: int,
    events: Sequence[Event],
    *,
    fence: Fence | None = None,
    outputs: bytes | None = None,
) -> Written | None:
    """Keeps events of a run.

    Args:
        connection: in a transaction.
        number: the run's.
        events: in order, after those that are kept; at least one.
        fence: who has it; None: the transaction has made sure of that already.
        outputs: the run's, where they are kept in its row: the event that says the same does not keep them again.

    Returns:
        None: another host has the run, or it has ended, and nothing was written.
    """
    packer = msgpack.Packer(unicode_errors="surrogatepass", buf_size=_BUFFER)
    lifecycle: list[tuple[Any, ...]] = []
    chunks: list[tuple[Any, ...]] = []
    results: list[tuple[int, int, int, bytes]] = []
    for event in events:
        if event.chunk is not None:
            chunks.append((event.seq, event.kind, event.fields, event.chunk, event.at))
            continue
        lifecycle.append((event.seq, event.kind, event.fields, event.at))
        if event.values:
            interface = outputs is not None and event.fields.get("nodeId") == INTERFACE
            if interface and packed_outputs(event.values) == outputs:
                continue
            body = packer.pack(dict(event.values))
            results.append((number, event.seq, len(body) + ROW, body))
    upto = events[-1].seq
    rows = []
    written: Chunks | None = None
    for kind, found in ((LIFECYCLE, lifecycle), (CHUNKS, chunks)):
        if found:
            body = msgpack.packb(found, unicode_errors="surrogatepass")
            size = len(body) + ROW
            rows.append({"run": number, "upto": upto, "kind": kind, "first": found[0][0], "size": size, "body": body})
            if kind == CHUNKS:
                written = Chunks(upto, found[0][0], size)
    size = sum(row[2] for row in results)
    more: dict[str, Any] = {"its_number": number, "upto": upto, "more": size + sum(row["size"] for row in rows)}
    if fence is not None:
        more |= {"its_attempt": fence.attempt, "its_holder": fence.holder}
    # First of all: it also locks the row, so that nobody takes the run before this is committed.
    if not connection.execute(_GROWN if fence is None else _GROWN_FENCED, more).rowcount:
        return None
    connection.execute(_EVENTS, rows)
    if results:
        insert_many(connection, node_results, results)
    return Written(written, size)


def packed_outputs(values: Mapping[str, bytes]) -> bytes:
    """Values by key as one msgpack map, as a run's outputs are kept."""
    packer = msgpack.Packer(unicode_errors="surrogatepass")
    parts: list[bytes] = [packer.pack_map_header(len(values))]
    for key, value in values.items():
        parts += [packer.pack(key), value]
    return b"".join(parts)


def outputs_by_key(outputs: bytes) -> dict[str, bytes]:
    """What `packed_outputs` was given."""
    reader = msgpack.Unpacker(None, max_buffer_size=len(outputs), unicode_errors="surrogatepass")
    reader.feed(outputs)
    found: dict[str, bytes] = {}
    for _ in range(reader.read_map_header()):
        key = reader.unpack()
        start = reader.tell()
        reader.skip()
        found[key] = outputs[start : reader.tell()]
    return found
