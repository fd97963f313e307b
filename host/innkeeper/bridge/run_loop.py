"""Runs what plugins submitted, and fires their schedules, while the host is up.

Of the processes that have a home open, one at a time does this: it holds a lock. So what is said to run when it begins
ran in a process that died, and is marked as interrupted. Nothing is kept in memory that is not in the database first.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

import msgpack
import trio

from innkeeper.bridge.cron import next_due
from innkeeper.bridge.runner import Failure, Job, ProblemsError, Report, Runner, failed
from innkeeper.bridge.scheduler_desk import Lock, new_id
from innkeeper.errors import InnkeeperError, Kind
from innkeeper.storage.runs import RunStore
from innkeeper.storage.schedules import ScheduleStore
from innkeeper.storage.schedules_model import MOST_OUTPUTS, RunStatus, Schedule, SubmittedRun

T = TypeVar("T")

logger = logging.getLogger("innkeeper.bridge")

PARALLEL: Final = 4
"""Runs at the same time: each may have 16 guests, and programs and commands run workflows of their own besides."""

MOST_OF_ONE: Final = PARALLEL - 1
"""Of these, of one plugin: each may take as long as `LONGEST`, and others need not wait for that."""

LONGEST: Final = 3600.0
"""Seconds that a run may take: as long as one call may, at most."""

POLL: Final = 5.0
"""Seconds after which the queue is looked at without being told to: another process may have put something there."""

AGAIN: Final = 60.0
"""Seconds until a schedule is looked at again that could not fire: its plugin has too many runs, or no right."""

_SWEEP = 600.0
_BUSY = 0.5
_TRIES = 10
_CLOSING = 5.0
"""Seconds for writing down, as the host closes, that a run was interrupted."""


@dataclass(slots=True)
class Active:
    """A run of this process.

    Attributes:
        run: the run.
        scope: cancels it.
        unwanted: whether somebody cancelled it; else the host closes.
    """

    run: SubmittedRun
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    unwanted: bool = False

    def cancel(self) -> None:
        """Ends it because somebody wants so."""
        self.unwanted = True
        self.scope.cancel()


class RunLoop:
    """Attributes:
    active: the runs of this process by id.
    """

    def __init__(
        self,
        runs: RunStore,
        schedules: ScheduleStore,
        runner: Runner,
        *,
        lock: Lock,
        permitted: Callable[[str], bool],
        now: Callable[[], float],
        everything: bool = True,
    ) -> None:
        """Args:
        runs: what was submitted.
        schedules: what is to run later.
        runner: runs it.
        lock: held by who runs things.
        permitted: whether a plugin may still start workflows.
        now: seconds since 1970; called on trio's thread.
        everything: whether schedules fire, and runs begin that others submitted.
        """
        self.active: dict[str, Active] = {}
        self._runs = runs
        self._schedules = schedules
        self._runner = runner
        self._lock = lock
        self._permitted = permitted
        self._now = now
        self._own: set[str] | None = None if everything else set()
        self._woken = trio.Event()
        self._swept = float("-inf")
        self._failing: set[str] = set()

    def wake(self, submitted: str | None = None) -> None:
        """Something may begin now; what, if it was submitted in this process (id)."""
        if self._own is not None and submitted is not None:
            self._own.add(submitted)
        self._woken.set()

    def cancel(self, id: str) -> None:
        """Ends a run, if it is one of this process."""
        active = self.active.get(id)
        if active is not None:
            active.cancel()

    async def run(self) -> None:
        """Goes on until it is cancelled."""
        try:
            while not await self._safely("taking its lock", partial(trio.to_thread.run_sync, self._lock.take)):
                await self._pause(POLL)
            # Before anything runs here: what is said to run then does not.
            while not await self._safely("marking what was interrupted", self._begin):
                await self._pause(POLL)
            async with trio.open_nursery() as nursery:
                while True:
                    wait = await self._step(nursery)
                    await self._pause(wait)
        finally:
            self._lock.release()

    async def _begin(self) -> bool:
        while await self._runs.interrupt_all(self._now()):
            pass
        return True

    async def _step(self, nursery: trio.Nursery) -> float:
        """Does what is to be done now; gives the seconds until there may be more."""
        await self._safely("cancelling runs", self._cancel)
        if self._own is None:
            await self._safely("firing schedules", self._fire)

        async def start() -> None:
            while len(self.active) < PARALLEL and await self._start_one(nursery):
                pass

        await self._safely("starting runs", start)
        if self._now() - self._swept >= _SWEEP:
            self._swept = self._now()
            await self._safely("forgetting old runs", self._sweep)
        wait = await self._safely("looking at schedules", self._wait)
        return POLL if wait is None else wait

    async def _safely(self, what: str, work: Callable[[], Awaitable[T]]) -> T | None:
        # A database that is busy or a disk that is full ends neither what runs nor what is to run later.
        try:
            done = await work()
        except InnkeeperError as error:
            if what not in self._failing:
                # Once, until it works again.
                self._failing.add(what)
                logger.warning("the scheduler: %s failed, and is tried again: %s", what, error)
            return None
        self._failing.discard(what)
        return done

    async def _pause(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._woken.wait()
        self._woken = trio.Event()

    async def _wait(self) -> float:
        look = None if self._own is not None else await self._schedules.next_look()
        # One that is due still could not be fired, since the database is busy.
        return POLL if look is None else min(POLL, max(look - self._now(), _BUSY))

    async def _sweep(self) -> None:
        while await self._runs.sweep(self._now()):
            pass
        while await self._schedules.sweep(self._now()):
            pass

    async def _cancel(self) -> None:
        by_number = {active.run.number: active for active in self.active.values()}
        if by_number:
            for number in await self._runs.to_cancel(list(by_number)):
                by_number[number].cancel()

    # --- schedules --------------------------------------------------------------------------------------------------

    async def _fire(self) -> None:
        while due := await self._schedules.due(self._now()):
            for schedule in due:
                await self._fire_one(schedule)

    async def _fire_one(self, schedule: Schedule) -> None:
        now = self._now()
        fired = "full"
        if self._permitted(schedule.account.plugin):
            try:
                following = await self._following(schedule, now)
            except ValueError as error:
                # The system's time zones may have changed.
                logger.warning("the scheduler: the schedule %s cannot fire: %s", schedule.id, error)
            else:
                fired = await self._schedules.fire(schedule, new_id(), now, following)
        if fired == "full":
            await self._schedules.postpone(schedule, now + AGAIN)

    async def _following(self, schedule: Schedule, now: float) -> float | None:
        if not schedule.expression:
            return None
        # After now: of the times that passed while no host was up, one fires.
        return await trio.to_thread.run_sync(next_due, schedule.expression, schedule.timezone, max(now, schedule.due))

    # --- runs -------------------------------------------------------------------------------------------------------

    async def _start_one(self, nursery: trio.Nursery) -> bool:
        own = None if self._own is None else frozenset(self._own)
        queued = await self._runs.next_of_each(own)
        if not queued:
            if self._own is not None and own:
                # Another process has run them, or they were cancelled.
                self._own -= own
            return False
        # Who has fewest running goes first: one that submits much delays itself.
        running = Counter(active.run.account for active in self.active.values())
        queued = [each for each in queued if running[each.account] < MOST_OF_ONE]
        if not queued:
            return False
        run = min(queued, key=lambda each: (running[each.account], each.number))
        if not self._permitted(run.account.plugin):
            failure = Failure(Kind.DENIED.value, "the plugin may not start workflows any more")
            await self._runs.end(run, "error", self._now(), error=failure.as_json())
            return True
        # Known before it is said to run: whoever cancels it from then on finds it.
        active = self.active[run.id] = Active(run)
        job = None
        try:
            job = await self._runs.take(run.number, self._now())
        finally:
            if job is None:
                del self.active[run.id]
        if self._own is not None:
            self._own.discard(run.id)
        if job is not None:
            nursery.start_soon(self._run, active, job)
        return True

    async def _run(self, active: Active, job: bytes) -> None:
        run = active.run
        status: RunStatus = "interrupted"
        report: Report | None = None
        try:
            with active.scope:
                report = await self._report(run, job)
                status = report.status
            if active.scope.cancelled_caught:
                status = "cancelled" if active.unwanted else "interrupted"
        finally:
            try:
                await self._end(run, status, report)
            finally:
                del self.active[run.id]
                self.wake()

    async def _report(self, run: SubmittedRun, job: bytes) -> Report:
        try:
            with trio.fail_after(LONGEST):
                return await self._runner.run(Job(**msgpack.unpackb(job)), run.id, MOST_OUTPUTS)
        except ProblemsError as error:
            return failed(Kind.USAGE, str(error))
        except trio.TooSlowError:
            return failed(Kind.LIMIT, f"the run took more than {LONGEST:.0f} seconds")
        except InnkeeperError as error:
            return failed(error.kind, error.message)
        except Exception:
            logger.exception("the scheduler: a run of the plugin %s failed", run.account.plugin)
            return failed(Kind.INTERNAL, "the host failed; its log says more")

    async def _end(self, run: SubmittedRun, status: RunStatus, report: Report | None) -> None:
        outputs = None if report is None else report.outputs
        error = None if report is None or report.failure is None else report.failure.as_json()
        for _ in range(_TRIES):
            try:
                # As the host closes, what became of it is still written down, if that can be done at once.
                with trio.CancelScope(shield=True), trio.move_on_after(_CLOSING):
                    await self._runs.end(run, status, self._now(), outputs=outputs, error=error)
                    return
            except InnkeeperError as failure:
                logger.warning("the scheduler: the end of a run could not be written down: %s", failure)
            await trio.sleep(1)
