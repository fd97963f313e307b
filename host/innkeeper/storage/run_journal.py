"""What a run says while it goes on, kept as it goes by whoever has the run.

Chunks of streams are kept up to a bound per run; the oldest go first, and who asks for them is told which are gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, delete, func, select, update

from innkeeper.storage.database import Database
from innkeeper.storage.run_events import (
    CHUNKS,
    INTERFACE,
    Chunks,
    Event,
    StoredEvent,
    Written,
    write_events,
)
from innkeeper.storage.run_model import Fence, RunStatus, StaleError, StoredRun
from innkeeper.storage.run_reading import GONE, Known, known_of
from innkeeper.storage.run_rows import end_run
from innkeeper.storage.runs_schema import node_results, run_events, runs

CHUNK_BYTES: Final = 4 << 20
"""Bytes of chunks that are kept of one run: a reader that stays this far behind misses some."""

RESULT_BYTES: Final = 512 << 20
"""Bytes of nodes' outputs that are kept of one run: twice what a run has in memory at a time. Turns of loops may make
more; these are in no event that is read later."""


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
        return await self._db.read(lambda connection: known_of(connection, number))

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
            StoredEvent(event.seq, event.kind, {**event.fields, GONE: True}, at=event.at)
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
