"""Executes runs of the queue, as many at a time as there are slots, for as long as it holds their leases."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import trio

from innkeeper.bridge.runner import Failure, ProblemsError, Report, failed
from innkeeper.errors import InnkeeperError, Kind
from innkeeper.plugins.settings import RunsSettings
from innkeeper.storage.run_journal import Known
from innkeeper.storage.run_leases import RunLeases
from innkeeper.storage.run_model import MOST_OUTPUTS, RunStatus, StoredRun, Taken
from innkeeper.workflow.scheduling.directory import Directory, Executing
from innkeeper.workflow.scheduling.dispatch import fence_of, seconds_or_none
from innkeeper.workflow.scheduling.execution import Executor, Task
from innkeeper.workflow.scheduling.journal import Journal, Keeper
from innkeeper.workflow.scheduling.seams import Dispatch, Lease, LeaseLostError

T = TypeVar("T")

logger = logging.getLogger("innkeeper.workflow")

LOOK: Final = 0.5
"""Seconds between two looks at what somebody, perhaps in another process, wants to end. A look is one read."""

IDLE: Final = 5.0
"""Seconds for which the queue is waited for at a time."""

CLOSING: Final = 5.0
"""Seconds for writing down, as the host closes, what became of a run."""

_PAUSE: Final = 0.5
_TRIES: Final = 10


class Records(Keeper, Protocol):
    """Keeps what is known of runs, as `events.SqlEvents` does."""

    async def known(self, lease: Lease) -> Known:
        """What is kept of the run's earlier attempts."""
        ...

    def leave(self, lease: Lease) -> None:
        """Nothing more is published under a lease."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """What became of a run in this host.

    Attributes:
        run: the run, as it was taken.
        status: "running" as it begins; how it ended; "queued" where it was given back; None where its lease was lost.
        failure: why it failed, or None.
    """

    run: StoredRun
    status: RunStatus | None
    failure: Failure | None = None


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
        self._records = records
        self._executor = executor
        self._settings = settings
        self._permitted = permitted
        self._own: set[str] | None = None if everything else set()
        self._told = told
        self._directory = directory if directory is not None else Directory()
        self._now = now
        self._look = look
        self._slots = settings.parallel
        self._longest = settings.longest or math.inf
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
                self._own &= await self._leases.queued(self._own)
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
        try:
            taken = await self._retried(lambda: self._leases.load(fence_of(lease)))
            if taken is not None:
                self.active[lease.run] = taken.run
                await self._executed(lease, taken)
        except Exception:
            # A defect of one run ends no other. Its lease runs out, and then it is interrupted.
            logger.exception("the run %s was given up", lease.run)
        finally:
            self._extended.pop(lease, None)
            self.active.pop(lease.run, None)
            self._records.leave(lease)
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
                if trio.current_time() >= ends:
                    raise
                self._failed("reading a run", error)
            await trio.sleep(_PAUSE)

    async def _executed(self, lease: Lease, taken: Taken) -> None:
        run = taken.run
        self._tell(Step(run, "running"))
        known = Known()
        if run.attempt > 1:
            known = await self._retried(lambda: self._records.known(lease))
        journal = Journal(
            self._records, lease, lost=lambda: self._directory.lose(lease.run, lease.attempt), seq=known.seq
        )
        report: Report | None = None
        execution = Executing(lease)
        closing = True
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(journal.run)
                try:
                    async with self._directory.executing(lease) as execution:
                        report = await self._report(taken, known, journal)
                finally:
                    journal.leave()
            closing = False
        finally:
            with trio.CancelScope(shield=True):
                await self._over(lease, run, journal, execution, report, closing)

    async def _report(self, taken: Taken, known: Known, journal: Journal) -> Report:
        run = taken.run
        if run.account.plugin and not self._permitted(run.account.plugin):
            return failed(Kind.DENIED, "the plugin may not start workflows any more")
        outputs = min(MOST_OUTPUTS, self._settings.outputs) if run.account.plugin else self._settings.outputs
        left = seconds_or_none(taken.left)
        try:
            with trio.fail_after(min(left, self._longest)):
                return await self._executor.execute(Task(run, taken.job, outputs, known), journal)
        except ProblemsError as error:
            return failed(Kind.USAGE, str(error))
        except trio.TooSlowError:
            if left < self._longest:
                return failed(Kind.LIMIT, "the run did not end before its deadline")
            return failed(Kind.LIMIT, f"the run took more than {self._longest:g} seconds")
        except InnkeeperError as error:
            return failed(error.kind, error.message)
        except Exception:
            logger.exception("the run %s failed", run.id)
            return failed(Kind.INTERNAL, "the host failed; its log says more")

    async def _over(
        self, lease: Lease, run: StoredRun, journal: Journal, execution: Executing, report: Report | None, closing: bool
    ) -> None:
        """Writes down what became of a run; where the host closes, if that can be done soon."""
        status: RunStatus | None
        if execution.reason == "lost":
            self._tell(Step(run, None))
            return
        if report is not None:
            status = report.status
        else:
            status = "cancelled" if execution.reason == "cancelled" else "interrupted"
        again = status == "interrupted" and run.after_crash == "again"
        failure = None if report is None else report.failure
        for _ in range(_TRIES):
            try:
                with trio.move_on_after(CLOSING if closing else self._settings.lease) as limit:
                    if again:
                        # Without what it did last, it would have to be done again, or could not be.
                        await journal.flush()
                        await self._dispatch.release(lease)
                        status = "queued"
                    else:
                        await journal.end(
                            run,
                            status,
                            self._now(),
                            outputs=None if report is None else report.outputs,
                            error=None if failure is None else failure.as_json(),
                        )
                        await self._dispatch.finish(lease)
                if not limit.cancelled_caught:
                    self._tell(Step(run, status, failure))
                    return
            except LeaseLostError:
                self._tell(Step(run, None))
                return
            except InnkeeperError as error:
                logger.warning("the end of the run %s could not be written down: %s", run.id, error)
                await trio.sleep(_PAUSE)
            if closing:
                break
        # Its lease runs out, and then somebody says that it was interrupted.
        self._tell(Step(run, None))

    def _tell(self, step: Step) -> None:
        if self._told is not None:
            self._told(step)
