"""Executes runs of the queue, as many at a time as there are slots, for as long as it holds their leases."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio

from innkeeper.errors import InnkeeperError, RejectedError
from innkeeper.plugins.settings import RunsSettings
from innkeeper.storage.run_leases import RunLeases
from innkeeper.storage.run_model import StoredRun
from innkeeper.storage.run_reading import Known
from innkeeper.workflow.scheduling.attempt import CLOSING, Attempt, Means, Records
from innkeeper.workflow.scheduling.attempt import Step as Step
from innkeeper.workflow.scheduling.directory import Directory
from innkeeper.workflow.scheduling.dispatch import fence_of
from innkeeper.workflow.scheduling.execution import Executor
from innkeeper.workflow.scheduling.seams import Dispatch, Lease

T = TypeVar("T")

logger = logging.getLogger("innkeeper.workflow")

LOOK: Final = 0.5
"""Seconds between two looks at what somebody, perhaps in another process, wants to end. A look is one read."""

IDLE: Final = 5.0
"""Seconds for which the queue is waited for at a time."""

_PAUSE: Final = 0.5


class Worker:
    """A host's part of the queue. `run` is its whole life.

    Attributes:
        active: the runs that it executes, by id.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        leases: RunLeases,
        records: Records,
        executor: Executor,
        *,
        settings: RunsSettings,
        permitted: Callable[[str], bool] = lambda plugin: True,
        everything: bool = True,
        told: Callable[[Step], None] | None = None,
        directory: Directory | None = None,
        now: Callable[[], float] = time.time,
        look: float = LOOK,
    ) -> None:
        """Args:
        dispatch: hands out runs.
        leases: of the runs in storage.
        records: keeps what runs say.
        executor: executes them.
        settings: how many and how long.
        permitted: whether a plugin may start workflows now.
        everything: whether runs begin that others submitted; else those that `wake` names.
        told: is told of each run that begins and ends here, on trio's thread; must not block or raise.
        directory: of the runs of this process.
        now: seconds since 1970; called on trio's thread.
        look: seconds between two looks at what is to end.
        """
        self.active: dict[str, StoredRun] = {}
        self._dispatch = dispatch
        self._leases = leases
        self._settings = settings
        self._own: set[str] | None = None if everything else set()
        self._directory = directory if directory is not None else Directory()
        self._means = Means(dispatch, self._directory, records, executor, settings, permitted, told, now)
        self._now = now
        self._look = look
        self._slots = settings.parallel
        self._ended = trio.Event()
        self._woken = trio.Event()
        self._draining = False
        self._extended: dict[Lease, float] = {}
        self._failing: set[str] = set()

    def wake(self, submitted: str | None = None) -> None:
        """There is something to execute; what, if it was submitted in this process (id)."""
        if self._own is not None and submitted is not None:
            self._own.add(submitted)
        self._woken.set()

    def cancel(self, run: str) -> bool:
        """Ends a run because somebody wants so; whether it is executed here."""
        return self._directory.cancel(run)

    async def drain(self) -> None:
        """Takes nothing more; returns when nothing is executed any more."""
        self._draining = True
        while self._extended:
            await self._ended.wait()

    async def run(self) -> None:
        """Executes runs until it is cancelled. Then what runs is interrupted, or given back where its policy says that
        it may begin again."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep)
            nursery.start_soon(self._watch)
            await self._take(nursery)

    # --- taking -----------------------------------------------------------------------------------------------------

    async def _take(self, nursery: trio.Nursery) -> None:
        while True:
            self._woken = trio.Event()
            free = self._slots - len(self._extended)
            leases: list[Lease] = []
            if free > 0 and not self._draining and (self._own is None or self._own):
                leases = await self._claimed(free)
            for lease in leases:
                self._extended[lease] = trio.current_time()
                # From here on whoever cancels it finds it.
                nursery.start_soon(self._execute, lease)
            if self._own is not None:
                self._own.difference_update(lease.run for lease in leases)
            if not leases:
                await self._wait()
            else:
                await trio.lowlevel.checkpoint()

    async def _claimed(self, slots: int) -> list[Lease]:
        try:
            found = await self._dispatch.claim(slots, self._own)
            if self._own is not None and not found:
                # Another process has executed them, or they were cancelled.
                asked = {*self._own}
                queued = await self._leases.queued(asked)
                self._own -= asked - queued
            self._failing.discard("taking runs")
        except InnkeeperError as error:
            self._failed("taking runs", error)
            await trio.sleep(_PAUSE)
            return []
        return found

    async def _wait(self) -> None:
        async with trio.open_nursery() as nursery:

            async def until_offered() -> None:
                full = len(self._extended) >= self._slots or self._draining
                try:
                    if full or self._own is not None:
                        await trio.sleep(IDLE if full else _PAUSE if self._own else IDLE)
                    else:
                        await self._dispatch.wait(IDLE)
                except InnkeeperError as error:
                    self._failed("waiting for runs", error)
                    await trio.sleep(_PAUSE)
                nursery.cancel_scope.cancel()

            nursery.start_soon(until_offered)
            await self._woken.wait()
            nursery.cancel_scope.cancel()

    def _failed(self, what: str, error: InnkeeperError) -> None:
        if what not in self._failing:
            self._failing.add(what)
            logger.warning("the scheduler: %s failed, and is tried again: %s", what, error)

    # --- keeping ----------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Extends leases every third of their time, and then looks at those that others let run out: in this order, so
        that a host which slept finds its own runs first."""
        while True:
            try:
                await self._extend()
                if self._own is None:
                    for lapsed in await self._leases.lapse(self._now()):
                        logger.warning("the host of the run %s ended: it is %s now", lapsed.id, lapsed.status)
                        self._woken.set()
                self._failing.discard("extending leases")
            except InnkeeperError as error:
                self._failed("extending leases", error)
                # Whether they still count nobody knows; nobody may do twice what they do.
                late = trio.current_time() - self._settings.lease
                for lease, since in list(self._extended.items()):
                    if since <= late:
                        self._directory.lose(lease.run, lease.attempt)
            await trio.sleep(self._settings.lease / 3)

    async def _extend(self) -> None:
        leases = list(self._extended)
        asked = trio.current_time()
        kept = set(await self._dispatch.extend(leases)) if leases else set()
        for lease in leases:
            if lease in kept and lease in self._extended:
                self._extended[lease] = asked
            elif lease not in kept:
                self._directory.lose(lease.run, lease.attempt)

    async def _watch(self) -> None:
        """Ends what somebody wants to end, and what another host has."""
        while True:
            await trio.sleep(self._look)
            fences = {lease.number: lease for lease in self._directory.leases}
            if not fences:
                continue
            try:
                standing = await self._leases.standing([fence_of(lease) for lease in fences.values()])
            except InnkeeperError as error:
                self._failed("looking for what is to end", error)
                continue
            for each in standing:
                lease = fences[each.number]
                if not each.held:
                    self._directory.lose(lease.run, lease.attempt)
                elif each.cancel:
                    self._directory.cancel(lease.run)

    # --- executing --------------------------------------------------------------------------------------------------

    async def _execute(self, lease: Lease) -> None:
        began = False
        try:
            taken = await self._retried(lambda: self._leases.load(fence_of(lease)))
            if taken is not None:
                self.active[lease.run] = taken.run
                known, refused = Known(), None
                if taken.run.attempt > 1:
                    try:
                        known = await self._retried(lambda: self._means.records.known(lease))
                    except RejectedError as error:
                        # It would be no less damaged for the next host that takes it.
                        known, refused = Known(seq=taken.run.seq), error
                began = True
                await Attempt(self._means, lease, taken, known, refused=refused).run()
        except Exception:
            # A defect of one run ends no other. Its lease runs out, and then it is interrupted.
            logger.exception("the run %s was given up", lease.run)
        finally:
            if not began:
                await self._give_back(lease)
            self._extended.pop(lease, None)
            self.active.pop(lease.run, None)
            self._means.records.leave(lease)
            self._ended.set()
            self._ended = trio.Event()
            self._woken.set()

    async def _retried(self, read: Callable[[], Awaitable[T]]) -> T:
        """What a read gives, tried again while the database is busy; as long as the lease counts, and no longer."""
        ends = trio.current_time() + self._settings.lease
        while True:
            try:
                return await read()
            except InnkeeperError as error:
                if trio.current_time() >= ends or isinstance(error, RejectedError):
                    raise
                self._failed("reading a run", error)
            await trio.sleep(_PAUSE)

    async def _give_back(self, lease: Lease) -> None:
        """Of a run that did not begin: whatever its policy says, another host may take it."""
        with trio.CancelScope(shield=True), trio.move_on_after(CLOSING):
            try:
                await self._dispatch.release(lease)
            except InnkeeperError as error:
                self._failed("giving a run back", error)
