"""What a run says while it goes on, kept as it goes: written by who has the run, read by anybody.

What was read is committed. Chunks of streams are kept up to a bound per run; the oldest go first, and who asks for them
is told which are gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack
from sqlalchemy import Connection, delete, func, select, update

from innkeeper.storage.database import Database
from innkeeper.storage.run_events import (
    CHUNKS,
    INTERFACE,
    LIFECYCLE,
    Chunks,
    Event,
    StoredEvent,
    Written,
    outputs_by_key,
    write_events,
)
from innkeeper.storage.run_model import Fence, RunStatus, StaleError, StoredRun
from innkeeper.storage.run_rows import end_run
from innkeeper.storage.runs_schema import node_results, run_events, runs

CHUNK_BYTES: Final = 4 << 20
"""Bytes of chunks that are kept of one run: a reader that stays this far behind misses some."""

RESULT_BYTES: Final = 512 << 20
"""Bytes of nodes' outputs that are kept of one run: twice what a run has in memory at a time. Turns of loops may make
more; these are in no event that is read later."""

GONE: Final = "outputGone"
"""The field of an event that says that its values are not kept."""

PAGE_ROWS: Final = 16
PAGE_BYTES: Final = 1 << 20
"""Rows and bytes of them after which a page ends; one row may be larger."""


class RunRecord:
    """What one host writes about one run that it has. One task at a time."""

    def __init__(
        self, db: Database, fence: Fence, *, chunk_bytes: int = CHUNK_BYTES, result_bytes: int = RESULT_BYTES
    ) -> None:
        """Args:
        db: where it is kept.
        fence: what says that the host has it.
        chunk_bytes: bytes of chunks that are kept.
        result_bytes: bytes of nodes' outputs that are kept.
        """
        self._db = db
        self._fence = fence
        self._chunk_bytes = chunk_bytes
        self._result_bytes = result_bytes
        self._chunks: deque[Chunks] | None = None
        self._chunked = 0
        self._results = 0

    async def append(self, events: Sequence[Event]) -> None:
        """Keeps events, after those that are there.

        Raises:
            StaleError: another host has the run, or it has ended.
        """
        if not events:
            return
        await self._load()
        kept, dropped = self._bounded(events), self._dropped()

        def write(connection: Connection) -> Written:
            written = write_events(connection, self._fence.number, kept, fence=self._fence)
            if written is None:
                raise StaleError
            self._drop(connection, dropped)
            return written

        self._note(await self._db.write(write), dropped)

    async def end(
        self,
        run: StoredRun,
        status: RunStatus,
        now: float,
        *,
        events: Sequence[Event],
        outputs: bytes | None = None,
        error: str | None = None,
    ) -> None:
        """Ends the run, with its last events, in one transaction.

        Args:
            run: the run.
            status: how it ended.
            now: seconds since 1970.
            events: the last ones; where the run itself said none of how it ended, one is made.
            outputs: a msgpack map.
            error: why it failed, as JSON.

        Raises:
            StaleError: another host has the run, or it has ended.
        """
        await self._load()
        kept = self._bounded(events)

        def write(connection: Connection) -> Written:
            written = end_run(
                connection,
                run,
                status,
                now,
                outputs=outputs,
                error=error,
                fence=self._fence,
                events=kept or None,
            )
            if written is None:
                raise StaleError
            return written

        self._note(await self._db.write(write), [])

    async def known(self) -> Known:
        """What is kept of the attempts before."""
        number = self._fence.number
        return await self._db.read(lambda connection: _known(connection, number))

    async def _load(self) -> None:
        if self._chunks is not None:
            return
        if self._fence.attempt <= 1:
            self._chunks = deque()
            return
        number = self._fence.number
        rows = select(run_events.c.upto, run_events.c.first, run_events.c.size)
        rows = rows.where(run_events.c.run == number, run_events.c.kind == CHUNKS).order_by(run_events.c.upto)
        size = select(func.coalesce(func.sum(node_results.c.size), 0)).where(node_results.c.run == number)

        def read(connection: Connection) -> tuple[list[Chunks], int]:
            found = [Chunks(row.upto, row.first, row.size) for row in connection.execute(rows)]
            return found, int(connection.execute(size).scalar_one())

        found, self._results = await self._db.read(read)
        self._chunks = deque(found)
        self._chunked = sum(each.size for each in found)

    def _bounded(self, events: Sequence[Event]) -> Sequence[Event]:
        more = sum(sum(map(len, event.values.values())) for event in events if event.values)
        if self._results + more <= self._result_bytes:
            return events
        return [
            StoredEvent(event.seq, event.kind, {**event.fields, GONE: True})
            if event.values and event.fields.get("nodeId") != INTERFACE
            else event
            for event in events
        ]

    def _dropped(self) -> list[Chunks]:
        """The oldest rows of chunks, where there are too many: down to three quarters, so that this is seldom."""
        assert self._chunks is not None
        if self._chunked <= self._chunk_bytes:
            return []
        dropped, left = [], self._chunked
        for each in self._chunks:
            if left <= self._chunk_bytes * 3 // 4:
                break
            dropped.append(each)
            left -= each.size
        return dropped

    def _drop(self, connection: Connection, dropped: Sequence[Chunks]) -> None:
        if not dropped:
            return
        number = self._fence.number
        old = (run_events.c.run == number, run_events.c.kind == CHUNKS, run_events.c.upto <= dropped[-1].upto)
        connection.execute(delete(run_events).where(*old))
        size = sum(each.size for each in dropped)
        first = connection.execute(select(runs.c.gone_first).where(runs.c.number == number)).scalar_one()
        values: dict[str, Any] = {"gone_last": dropped[-1].upto, "kept": runs.c.kept - size}
        values["gone_first"] = first or dropped[0].first
        connection.execute(update(runs).where(runs.c.number == number).values(**values))

    def _note(self, written: Written, dropped: Sequence[Chunks]) -> None:
        # After the commit: what was rolled back counts for nothing.
        assert self._chunks is not None
        for each in dropped:
            self._chunks.popleft()
            self._chunked -= each.size
        if written.chunks is not None:
            self._chunks.append(written.chunks)
            self._chunked += written.chunks.size
        self._results += written.results


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept of a run's earlier attempts.

    Attributes:
        results: outputs by key (msgpack) of each node that completed, by its id.
        begun: ids of nodes that began, whether they ended or not.
        seq: number of the last event.
        failed: of nodes that failed, the kind and the message.
        said: ids of nodes that were said to be skipped or bypassed.
    """

    results: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    begun: frozenset[str] = frozenset()
    seq: int = 0
    failed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    said: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Page:
    """Some events of a run.

    Attributes:
        events: in order.
        upto: the next page begins after this number.
        last: number of the run's last event so far.
        ended: whether the run has ended, so that there will be none after `last`.
        gone: first and last number between which chunks are missing, or None.
    """

    events: Sequence[StoredEvent]
    upto: int
    last: int
    ended: bool
    gone: tuple[int, int] | None


class RunReader:
    """Reads what runs said."""

    def __init__(self, db: Database) -> None:
        """Args:
        db: where it is kept.
        """
        self._db = db

    async def page(self, number: int, after: int) -> Page | None:
        """Events of a run (its number) after a number; None: the run is not kept any more."""
        return await self._db.read(lambda connection: _page(connection, number, after))

    async def heads(self, numbers: Collection[int]) -> dict[int, tuple[int, bool]]:
        """The number of the last event of runs (their numbers), and whether they have ended; quick."""
        query = select(runs.c.number, runs.c.seq, runs.c.ended).where(runs.c.number.in_(list(numbers)))

        def read(connection: Connection) -> dict[int, tuple[int, bool]]:
            return {row.number: (row.seq, row.ended is not None) for row in connection.execute(query)}

        return await self._db.read(read)


def _page(connection: Connection, number: int, after: int) -> Page | None:
    columns = (runs.c.seq, runs.c.ended, runs.c.gone_first, runs.c.gone_last)
    run = connection.execute(select(*columns).where(runs.c.number == number)).first()
    if run is None:
        return None
    query = select(run_events.c.upto, run_events.c.kind, run_events.c.size)
    query = query.where(run_events.c.run == number, run_events.c.upto > after).order_by(run_events.c.upto)
    heads = connection.execute(query.limit(PAGE_ROWS)).all()
    upto, size = after, 0
    # Whole flushes: a row of each kind. The last flush may be cut where there are more rows.
    whole = heads if len(heads) < PAGE_ROWS else [head for head in heads if head.upto != heads[-1].upto]
    for head in whole:
        if size >= PAGE_BYTES and head.upto != upto:
            break
        upto, size = head.upto, size + head.size
    gone = (max(run.gone_first, after + 1), run.gone_last) if run.gone_last > after else None
    if upto == after:
        # Nothing is kept between here and the last one: what there was is gone.
        return Page([], run.seq, run.seq, run.ended is not None, gone)
    within = (run_events.c.run == number, run_events.c.upto > after, run_events.c.upto <= upto)
    bodies = connection.execute(select(run_events.c.kind, run_events.c.body).where(*within)).all()
    results = _results(connection, number, after, upto)
    found: list[StoredEvent] = []
    for kind, body in bodies:
        for event in msgpack.unpackb(body, unicode_errors="surrogatepass", strict_map_key=False):
            if event[0] <= after:
                continue
            if kind == CHUNKS:
                found.append(StoredEvent(event[0], event[1], event[2], {}, event[3]))
            else:
                found.append(StoredEvent(event[0], event[1], event[2], results.get(event[0], {})))
    found.sort(key=lambda event: event.seq)
    if found and found[-1].seq == run.seq and run.ended is not None:
        found = _with_outputs(connection, number, found)
    return Page(found, upto, run.seq, run.ended is not None, gone)


def _results(connection: Connection, number: int, after: int, upto: int) -> dict[int, dict[str, bytes]]:
    within = (node_results.c.run == number, node_results.c.seq > after, node_results.c.seq <= upto)
    rows = connection.execute(select(node_results.c.seq, node_results.c.body).where(*within))
    return {row.seq: msgpack.unpackb(row.body, unicode_errors="surrogatepass") for row in rows}


def _with_outputs(connection: Connection, number: int, found: list[StoredEvent]) -> list[StoredEvent]:
    """The event that says the run's outputs, where these are kept in the run's row alone."""
    for place, event in enumerate(found):
        if event.fields.get("nodeId") == INTERFACE and not event.values:
            outputs = connection.scalar(select(runs.c.outputs).where(runs.c.number == number))
            if outputs is not None:
                found[place] = StoredEvent(event.seq, event.kind, event.fields, outputs_by_key(outputs))
    return found


def _known(connection: Connection, number: int) -> Known:
    seq = connection.scalar(select(runs.c.seq).where(runs.c.number == number)) or 0
    complete: dict[str, int] = {}
    failed: dict[str, tuple[str, str]] = {}
    begun: set[str] = set()
    said: set[str] = set()
    query = select(run_events.c.body).where(run_events.c.run == number, run_events.c.kind == LIFECYCLE)
    for body in connection.scalars(query.order_by(run_events.c.upto)):
        for at, kind, fields in msgpack.unpackb(body, unicode_errors="surrogatepass", strict_map_key=False):
            node = fields.get("nodeId")
            if kind == "NODE_EXECUTING":
                # Again, in a later attempt: what it came to before counts no more.
                begun.add(node)
                complete.pop(node, None)
                failed.pop(node, None)
            elif kind == "NODE_COMPLETE" and node != INTERFACE and not fields.get(GONE):
                complete[node] = at
            elif kind == "NODE_ERROR":
                details = fields.get("errorDetails") or {}
                failed[node] = (str(details.get("kind", "guest")), str(details.get("message", "")))
            elif kind in ("NODE_SKIPPED", "NODE_BYPASSED"):
                said.add(node)
    results: dict[str, Mapping[str, bytes]] = {node: {} for node in complete}
    nodes = {at: node for node, at in complete.items()}
    for row in connection.execute(select(node_results.c.seq, node_results.c.body).where(node_results.c.run == number)):
        if row.seq in nodes:
            results[nodes[row.seq]] = msgpack.unpackb(row.body, unicode_errors="surrogatepass")
    return Known(results, frozenset(begun), int(seq), failed, frozenset(said))
