"""Events of runs through the database: kept first, then given out, to subscribers in this process and in others.

Nothing that a subscriber gets comes from anywhere but the database, so nothing is given out that could be lost. A
publisher in the same process rings; for runs that another process executes, all subscribers together look five times a
second, and not at all while nobody subscribes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio

from innkeeper.errors import UsageError
from innkeeper.storage.database import Database
from innkeeper.storage.run_events import StoredEvent
from innkeeper.storage.run_journal import CHUNK_BYTES, RunRecord
from innkeeper.storage.run_model import Account, RunStatus, StaleError, StoredRun
from innkeeper.storage.run_reading import Known, RunReader
from innkeeper.storage.run_store import RunStore
from innkeeper.workflow.engine.events import RunEvent
from innkeeper.workflow.scheduling.dispatch import fence_of
from innkeeper.workflow.scheduling.seams import Gone, Lease, LeaseLostError

POLL: Final = 0.2
"""Seconds between two looks at runs of other processes."""


@dataclass(frozen=True, slots=True)
class Missed:
    """A page of what a run said.

    Attributes:
        items: events in order, and what is gone.
        upto: the next page begins after this number.
        told: up to which number it is said what is gone.
        over: whether the run has ended and nothing comes behind this.
    """

    items: Sequence[RunEvent | Gone]
    upto: int
    told: int
    over: bool


class SqlEvents:
    """Implements `seams.Events`; from one loop of trio."""

    def __init__(self, db: Database, *, chunk_bytes: int = CHUNK_BYTES, poll: float = POLL) -> None:
        """Args:
        db: where they are kept.
        chunk_bytes: bytes of chunks of streams that are kept of one run.
        poll: seconds between two looks at runs of other processes.
        """
        self._db = db
        self._store = RunStore(db)
        self._reader = RunReader(db)
        self._chunk_bytes = chunk_bytes
        self._poll = poll
        self._polled = float("-inf")
        self._records: dict[Lease, RunRecord] = {}
        self._subscribers: dict[int, set[Subscription]] = {}

    # --- publishing -------------------------------------------------------------------------------------------------

    async def publish(self, lease: Lease, events: Sequence[RunEvent]) -> None:
        """As `Events.publish`. The order of two that go on at the same time is nobody's promise."""
        try:
            await self._record(lease).append(events)
        except StaleError:
            self._records.pop(lease, None)
            raise _lost(lease) from None
        self._ring(lease.number)

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
        """Ends a run together with its last events, in one transaction.

        Args:
            lease: the right to do so.
            run: the run.
            status: how it ended.
            now: seconds since 1970.
            events: the last ones; where there are none, one is made that says how it ended.
            outputs: of the run, a msgpack map.
            error: why it failed, as JSON.

        Raises:
            LeaseLostError: nothing was kept.
        """
        try:
            await self._record(lease).end(run, status, now, events=events, outputs=outputs, error=error)
        except StaleError:
            raise _lost(lease) from None
        finally:
            self._records.pop(lease, None)
        self._ring(lease.number)

    async def known(self, lease: Lease) -> Known:
        """What is kept of the run's attempts before this one."""
        return await self._record(lease).known()

    def leave(self, lease: Lease) -> None:
        """This host publishes nothing more under a lease."""
        self._records.pop(lease, None)

    def _record(self, lease: Lease) -> RunRecord:
        record = self._records.get(lease)
        if record is None:
            record = self._records[lease] = RunRecord(self._db, fence_of(lease), chunk_bytes=self._chunk_bytes)
        return record

    # --- subscribing ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def subscribe(
        self, run: str, after: int = 0, account: Account | None = None
    ) -> AsyncIterator[AsyncIterator[RunEvent | Gone]]:
        """As `Events.subscribe`.

        Args:
            run: its id.
            after: number of the last event that the subscriber has; 0: none.
            account: whose run it must be; None: anybody's.

        Raises:
            UsageError: there is no such run.
        """
        found = await self._store.find(run, 0.0, account)
        if found is None:
            raise UsageError(f"there is no run {run!r}")
        subscription = Subscription(self, found.number, after)
        subscribers = self._subscribers.setdefault(found.number, set())
        subscribers.add(subscription)
        try:
            yield subscription
        finally:
            subscribers.discard(subscription)
            if not subscribers:
                self._subscribers.pop(found.number, None)

    async def missed(self, number: int, after: int, told: int) -> Missed | None:
        """What is kept of a run now, a page of it.

        Args:
            number: the run's number.
            after: number of the last event that the reader has.
            told: number up to which the reader knows what is gone.

        Returns:
            None: the run is not kept any more.

        Raises:
            RejectedError: it is damaged; or as `Database.read`.
        """
        page = await self._reader.page(number, after)
        if page is None:
            return None
        items: list[RunEvent | Gone] = []
        if page.gone is not None and page.gone[1] > told:
            items.append(Gone(max(page.gone[0], told + 1), page.gone[1]))
            told = page.gone[1]
        items.extend(map(_event, page.events))
        return Missed(items, page.upto, told, page.ended and page.upto >= page.last)

    def _ring(self, number: int) -> None:
        for subscriber in self._subscribers.get(number, ()):
            subscriber.ring()

    async def look(self) -> None:
        """Rings for whoever has something to read by now; waits as long as one should between two looks."""
        due = self._polled + self._poll
        if trio.current_time() < due:
            await trio.sleep_until(due)
            if self._polled + self._poll > due:
                # Another subscriber has looked meanwhile.
                return
        self._polled = trio.current_time()
        # Runs of this process ring by themselves.
        own = {lease.number for lease in self._records}
        numbers = [number for number in self._subscribers if number not in own]
        heads = await self._reader.heads(numbers) if numbers else {}
        for number in numbers:
            seq, ended = heads.get(number, (0, True))
            for subscriber in self._subscribers.get(number, ()):
                if ended or seq > subscriber.after:
                    subscriber.ring()


class Subscription:
    """The events of one run, in order, for one subscriber. It keeps one page of them at a time."""

    def __init__(self, events: SqlEvents, number: int, after: int) -> None:
        self.after = after
        """Number of the last event that was read."""
        self._events = events
        self._number = number
        self._told = after
        self._waiting: deque[RunEvent | Gone] = deque()
        self._over = False
        self._rung = trio.Event()

    def ring(self) -> None:
        """There may be something to read."""
        self._rung.set()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> RunEvent | Gone:
        while not self._waiting:
            if self._over:
                raise StopAsyncIteration
            # Before the look: what comes meanwhile rings again.
            self._rung = trio.Event()
            if not await self._read():
                await self._wait()
        return self._waiting.popleft()

    async def _read(self) -> bool:
        missed = await self._events.missed(self._number, self.after, self._told)
        if missed is None:
            self._over = True
            return True
        self._waiting.extend(missed.items)
        self.after, self._told, self._over = missed.upto, missed.told, missed.over
        return bool(self._waiting) or self._over

    async def _wait(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._looking, nursery.cancel_scope)
            await self._rung.wait()
            nursery.cancel_scope.cancel()

    async def _looking(self, scope: trio.CancelScope) -> None:
        while not self._rung.is_set():
            await self._events.look()


def _event(event: StoredEvent) -> RunEvent:
    return RunEvent(event.seq, event.kind, event.fields, event.values, event.chunk, event.at)


def _lost(lease: Lease) -> LeaseLostError:
    return LeaseLostError(f"the run {lease.run!r} is another host's by now, or has ended: this attempt is over")
