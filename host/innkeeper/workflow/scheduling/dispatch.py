"""The queue in the database as a dispatcher: what is queued there is offered, and taken as fairness has it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

import trio

from innkeeper.errors import UsageError
from innkeeper.storage.run_leases import RunLeases
from innkeeper.storage.run_model import Fence
from innkeeper.storage.run_store import RunStore
from innkeeper.workflow.scheduling.seams import Answer, Lease

POLL: Final = 0.5
"""Seconds after which the queue is looked at without being told to: another process may have put something there. A
look costs about 0.2 ms of a thread."""


class SqlDispatch:
    """Implements `seams.Dispatch` on the tables of runs. Any number of hosts may share a database."""

    def __init__(
        self,
        store: RunStore,
        leases: RunLeases,
        holder: str,
        *,
        seconds: float,
        now: Callable[[], float] = time.time,
        poll: float = POLL,
    ) -> None:
        """Args:
        store: of the runs.
        leases: of the runs.
        holder: id of this host; no two have the same, and none has it again after a restart.
        seconds: for how long a lease counts.
        now: seconds since 1970; called on trio's thread.
        poll: seconds between two looks at the queue.
        """
        self._store = store
        self._leases = leases
        self._holder = holder
        self._seconds = seconds
        self._now = now
        self._poll = poll
        self._rung = trio.Event()

    async def submit(self, run: str) -> Answer:
        """As `Dispatch.submit`.

        Raises:
            UsageError: there is no such run in storage.
        """
        answer = await self._store.offer(run)
        if answer is None:
            raise UsageError(f"there is no run {run!r}: put it into storage before it is submitted")
        if answer == "accepted":
            self.ring()
        return answer

    async def claim(self, slots: int, among: Collection[str] | None = None) -> list[Lease]:
        """As `Dispatch.claim`."""
        taken = await self._leases.claim(self._holder, slots, self._seconds, self._now(), among=among)
        return [Lease(each.run.id, each.run.number, self._holder, each.run.attempt, self._seconds) for each in taken]

    async def extend(self, leases: Sequence[Lease]) -> list[Lease]:
        """As `Dispatch.extend`."""
        by_fence = {fence_of(lease): lease for lease in leases}
        return [by_fence[fence] for fence in await self._leases.extend(list(by_fence), self._seconds)]

    async def finish(self, lease: Lease) -> None:
        """As `Dispatch.finish`: that the run's row says that it has ended is all there is to do."""
        self.ring()

    async def release(self, lease: Lease) -> None:
        """As `Dispatch.release`."""
        if await self._leases.release(fence_of(lease)):
            self.ring()

    async def wait(self, seconds: float) -> None:
        """As `Dispatch.wait`."""
        ends = trio.current_time() + seconds
        while not self._rung.is_set() and (left := ends - trio.current_time()) > 0:
            with trio.move_on_after(min(left, self._poll)):
                await self._rung.wait()
            if not self._rung.is_set() and await self._leases.waiting():
                break
        self._rung = trio.Event()

    def ring(self) -> None:
        """There may be something to claim: whoever put it there says so. From trio's thread."""
        self._rung.set()


def fence_of(lease: Lease) -> Fence:
    """What writes under a lease carry."""
    return Fence(lease.number, lease.holder, lease.attempt)


def seconds_or_none(left: float | None) -> float:
    """Seconds that are left, or infinity."""
    return math.inf if left is None else max(0.0, left)
