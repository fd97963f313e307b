"""The events of one run on their way into the database: gathered while the group before is written.

Guarantees: events are kept in order, each once. Nothing is given out that is not kept. How the run ended, its outputs
and its last events are kept together. Once another host has the run nothing more is taken, and the run is ended.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol

import trio

from innkeeper.errors import InnkeeperError, LimitError
from innkeeper.storage.run_model import RunStatus, StoredRun
from innkeeper.workflow.engine.events import COMPLETE, INTERFACE_OUTPUTS, STATUS, RunEvent
from innkeeper.workflow.scheduling.seams import Lease, LeaseLostError

logger = logging.getLogger("innkeeper.workflow")

BUFFER: Final = 1 << 20
"""Bytes of events that wait to be written; beyond, whoever asks for room waits."""

GATHER: Final = 0.01
"""Seconds between two groups of one run: what shares a group shares its statements, which cost as much as 50 events."""

MOST_GATHER: Final = 0.1
"""The most of it, where writing takes long since many runs say something: a group costs 0.2 ms of the one thread that
writes, whatever is in it, and two hundred runs would keep it busy with nothing else."""

SAID: Final = 256 << 20
"""Bytes of what one attempt at a run may say besides chunks of streams and outputs of nodes, which have bounds of their
own: ten thousand turns of a hundred nodes. Loops in loops could otherwise fill a disk."""

_EVENT = 64
"""Bytes that an event takes beside its node's id and its message, about."""

_AGAIN: Final = 0.25
_WIRE: Final = {"cancelled": "interrupted"}


class Keeper(Protocol):
    """Keeps events, as `events.SqlEvents` does."""

    async def publish(self, lease: Lease, events: Sequence[RunEvent]) -> None:
        """As `seams.Events.publish`."""
        ...

    async def end(
        self,
        lease: Lease,
        run: StoredRun,
        status: RunStatus,
        now: float,
        *,
        events: Sequence[RunEvent],
        outputs: bytes | None = None,
        error: str | None = None,
    ) -> None:
        """As `events.SqlEvents.end`."""
        ...


class Journal:
    """Implements `engine.events.EventSink` for a run that this host has. `run` goes on beside the run."""

    def __init__(
        self,
        keeper: Keeper,
        lease: Lease,
        *,
        lost: Callable[[], None],
        seq: int = 0,
        buffer: int = BUFFER,
        gather: float = GATHER,
        most: int = SAID,
    ) -> None:
        """Args:
        keeper: keeps the events.
        lease: the right to the run.
        lost: called once where the lease is lost: it ends the run.
        seq: number of the last event that is kept.
        buffer: bytes of events that wait at most, while whoever emits asks for room.
        gather: seconds between two groups.
        most: bytes of what may be said besides chunks and outputs.
        """
        self._keeper = keeper
        self._lease = lease
        self._tell = lost
        self._most = buffer
        self._left = self._may_say = most
        self._gather = gather
        self._waiting: deque[RunEvent] = deque()
        # Of each that waits: an event counts its bytes anew whenever it is asked.
        self._sizes: deque[int] = deque()
        self._size = 0
        self._held: list[RunEvent] = []
        self._last = seq
        self._kept = seq
        self._lost = False
        self._closing = False
        self._idle = True
        self._bell = trio.Event()
        self._hurry = trio.Event()
        self._changed = trio.Event()

    # --- for the engine ---------------------------------------------------------------------------------------------

    def emit(self, event: RunEvent) -> None:
        """As `EventSink.emit`.

        Raises:
            LimitError: the run has said more than it may.
        """
        if self._lost:
            return
        if self._held or _closes(event):
            # From the run's outputs on, events wait for the transaction that ends the run.
            self._held.append(event)
            return
        if event.chunk is None:
            self._left -= _weight(event)
            if self._left < 0:
                raise LimitError(
                    f"the run has said more than {self._may_say:,} bytes of its nodes: its loops have too many turns",
                    limit="run events",
                    value=self._may_say,
                )
        self._last = event.seq
        self._waiting.append(event)
        size = event.size
        self._sizes.append(size)
        self._size += size
        if self._idle:
            self._bell.set()

    async def room(self) -> None:
        """As `EventSink.room`."""
        while self._size >= self._most and not self._lost:
            self._hurry.set()
            await self._changed.wait()

    async def settled(self) -> None:
        """As `EventSink.settled`; what waits for the run's end apart.

        Raises:
            LeaseLostError: another host has the run.
        """
        last = self._last
        while self._kept < last and not self._lost:
            self._hurry.set()
            await self._changed.wait()
        if self._lost:
            raise LeaseLostError(f"the run {self._lease.run!r} is another host's by now")

    # --- for the worker ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Writes what comes until `end`, `leave` or the loss of the lease."""
        while not self._closing and not self._lost:
            if not self._waiting:
                self._idle = True
                await self._bell.wait()
                self._bell = trio.Event()
                self._idle = False
                continue
            batch, sizes = self._batch()
            began = trio.current_time()
            if not await self._publish(batch, sizes):
                return
            took = trio.current_time() - began
            self._kept = batch[-1].seq
            self._size -= sum(sizes)
            self._note()
            with trio.move_on_after(min(max(self._gather, 2 * took), MOST_GATHER)):
                await self._hurry.wait()
            self._hurry = trio.Event()

    def _batch(self) -> tuple[list[RunEvent], list[int]]:
        """The events of the next group, and the bytes of each. They stay in the buffer's count until they are kept."""
        batch: list[RunEvent] = []
        sizes: list[int] = []
        size = 0
        while self._waiting and size < self._most:
            batch.append(self._waiting.popleft())
            sizes.append(self._sizes.popleft())
            size += sizes[-1]
        return batch, sizes

    async def _publish(self, batch: list[RunEvent], sizes: list[int]) -> bool:
        while True:
            try:
                await self._keeper.publish(self._lease, batch)
                return True
            except LeaseLostError:
                self.lose()
                return False
            except BaseException as error:
                # A cancellation too means that nothing was written.
                self._waiting.extendleft(reversed(batch))
                self._sizes.extendleft(reversed(sizes))
                if not isinstance(error, InnkeeperError):
                    raise
                # A disk may have room again; if it takes too long, the lease runs out.
                logger.warning("events of a run could not be written, and this is tried again: %s", error)
            await trio.sleep(_AGAIN)
            if self._lost or self._closing:
                return False
            batch[:], sizes[:] = self._batch()

    def lose(self) -> None:
        """Another host has the run: nothing more is taken, and the run is ended."""
        if not self._lost:
            self._lost = True
            self._waiting.clear()
            self._sizes.clear()
            self._held.clear()
            self._size = 0
            self._note()
            self._bell.set()
            self._tell()

    def leave(self) -> None:
        """`run` returns as soon as it can: what it has not written `flush` or `end` does."""
        self._closing = True
        self._bell.set()
        self._hurry.set()

    async def flush(self) -> None:
        """Writes what is not written by now, apart from how the run ended: it is given back, and another host goes on
        from there. `run` must have returned after `leave`.

        Raises:
            LeaseLostError: another host has the run, and nothing was written.
        """
        if self._waiting:
            await self._keeper.publish(self._lease, list(self._waiting))
            self._waiting.clear()
            self._sizes.clear()

    async def end(
        self, run: StoredRun, status: RunStatus, now: float, *, outputs: bytes | None = None, error: str | None = None
    ) -> None:
        """Ends the run with what is not written by now. `run` must have returned after `leave`.

        Args:
            run: the run.
            status: how it ended.
            now: seconds since 1970.
            outputs: a msgpack map.
            error: why it failed, as JSON.

        Raises:
            LeaseLostError: another host has the run, and nothing was written.
        """
        if self._lost:
            raise LeaseLostError(f"the run {self._lease.run!r} is another host's by now")
        events = [*self._waiting, *self._held]
        if events:
            message = json.loads(error)["message"] if error else None
            events = _closed(events, _WIRE.get(status, status), message, now)
        await self._keeper.end(self._lease, run, status, now, events=events, outputs=outputs, error=error)

    def _note(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _weight(event: RunEvent) -> int:
    details = event.fields.get("errorDetails")
    return _EVENT + len(event.fields.get("nodeId", "")) + (len(details["message"]) if details else 0)


def _closes(event: RunEvent) -> bool:
    if event.kind == STATUS:
        return event.fields.get("status") != "running"
    return event.kind == COMPLETE and event.fields.get("nodeId") == INTERFACE_OUTPUTS


def _closed(events: list[RunEvent], status: str, message: str | None, now: float) -> list[RunEvent]:
    """Events such that the last one says how the run ended, as its row does."""
    last = events[-1]
    if last.kind == STATUS and last.fields.get("status") == status:
        return events
    fields = {"status": status} | ({} if message is None else {"errorInfo": {"message": message}})
    if last.kind == STATUS and last.fields.get("status") != "running":
        return [*events[:-1], replace(last, fields=fields)]
    return [*events, RunEvent(last.seq + 1, STATUS, fields, at=now)]
