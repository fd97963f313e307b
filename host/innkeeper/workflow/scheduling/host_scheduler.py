"""The scheduler of one host: its worker, its schedules, and what both work with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import trio

from innkeeper.bridge.runner import Job, SchedulerNeeds
from innkeeper.plugins.settings import RunsSettings
from innkeeper.storage.clock import Clock, database_now
from innkeeper.storage.database import Database
from innkeeper.storage.leaders import LeaderStore
from innkeeper.storage.names import new_id
from innkeeper.storage.run_leases import RunLeases
from innkeeper.storage.run_model import NewRun, QueueBounds, RunningBounds
from innkeeper.storage.run_store import RunStore
from innkeeper.storage.schedules import ScheduleStore
from innkeeper.workflow.engine.times import NodeTimes
from innkeeper.workflow.runner import Projects, WorkflowRunner
from innkeeper.workflow.scheduling.dispatch import SqlDispatch
from innkeeper.workflow.scheduling.events import SqlEvents
from innkeeper.workflow.scheduling.execution import Executor
from innkeeper.workflow.scheduling.leader import SqlLeader
from innkeeper.workflow.scheduling.schedules import Schedules
from innkeeper.workflow.scheduling.seams import Answer
from innkeeper.workflow.scheduling.worker import Step, Worker

LEAST_LEASE: Final = 1.0
"""Seconds of a lease, whatever the configuration says."""


def queue_bounds(settings: RunsSettings) -> QueueBounds:
    """How many runs may wait (QueueBounds)."""
    return QueueBounds(settings.queued, settings.queued_by_all)


def running_bounds(settings: RunsSettings) -> RunningBounds:
    """How many runs may be executed at the same time (RunningBounds)."""
    return RunningBounds(settings.per_user, settings.plugins, settings.per_plugin)


class HostScheduler:
    """Implements `bridge.runner.Scheduler`.

    Attributes:
        store: the runs.
        schedules: the schedules.
        events: what runs say.
        worker: executes them.
        told: is told of each run that begins and ends here, on trio's thread; must not block or raise. None: nobody is.
        listeners: are told of the same, before it.
        times: what the nodes of its runs took.
        stirred: called as well, and where a run was submitted here: the queue is another now. On the same terms.
    """

    def __init__(
        self,
        db: Database,
        executor: Executor,
        check: WorkflowRunner | None,
        *,
        settings: RunsSettings,
        permitted: Callable[[str], bool] = lambda plugin: True,
        everything: bool = True,
        now: Callable[[], float] = time.time,
        clock: Clock = database_now,
        times: NodeTimes | None = None,
    ) -> None:
        """Args:
        db: where runs and schedules are kept.
        executor: executes workflows.
        check: checks them; None: nothing is checked here.
        settings: how many and how long.
        permitted: whether a plugin may start workflows now.
        everything: whether schedules fire, and runs begin that others submitted; else those that `wake` names.
        now: seconds since 1970; called on trio's thread.
        clock: the time that leases count by, as an expression.
        times: where `executor` counts what nodes take.
        """
        # A host that says so more than three times a second would do little else.
        settings = replace(settings, lease=max(settings.lease, LEAST_LEASE))
        # No host has the id of another, nor of itself before it ended.
        self.holder = new_id()
        self.told: Callable[[Step], None] | None = None
        self.listeners: list[Callable[[Step], None]] = []
        self.times = times if times is not None else NodeTimes()
        self.stirred: Callable[[], None] | None = None
        bounds = queue_bounds(settings)
        self.store = RunStore(db, bounds=bounds)
        self.schedules = ScheduleStore(db, bounds=bounds)
        self.events = SqlEvents(db, chunk_bytes=settings.chunks)
        leases = RunLeases(db, bounds=running_bounds(settings), clock=clock)
        self._dispatch = SqlDispatch(self.store, leases, self.holder, seconds=settings.lease, now=now)
        self._leader = SqlLeader(LeaderStore(db, clock=clock), "schedules", self.holder, seconds=settings.lease)
        self._firing = Schedules(self.schedules, self._leader, permitted=permitted, fired=self._dispatch.ring, now=now)
        self.worker = Worker(
            self._dispatch,
            leases,
            self.events,
            executor,
            settings=settings,
            permitted=permitted,
            everything=everything,
            told=self._told,
            now=now,
        )
        self._check = check
        self._everything = everything
        self._now = now

    async def submit(self, run: NewRun) -> Answer:
        """Queues a run of anybody's.

        Raises:
            TooManyError: its plugin has too many that are queued or running.
        """
        answer = await self.store.submit(run, self._now())
        if answer == "accepted":
            self.wake(run.id)
        return answer

    async def check(self, job: Job, *, confined: bool = True) -> None:
        """As `WorkflowRunner.check`."""
        if self._check is not None:
            await self._check.check(job, confined=confined)

    def generation(self, run: str) -> int:
        """As `Scheduler.generation`."""
        found = self.worker.active.get(run)
        return 0 if found is None else found.generation

    def cancel(self, run: str) -> bool:
        """As `Scheduler.cancel`."""
        return self.worker.cancel(run)

    def wake(self, submitted: str | None = None) -> None:
        """As `Scheduler.wake`."""
        self._dispatch.ring()
        self.worker.wake(submitted)
        self._firing.ring()
        if self.stirred is not None:
            self.stirred()

    async def run(self) -> None:
        """As `Scheduler.run`."""
        async with trio.open_nursery() as nursery:
            if self._everything:
                nursery.start_soon(self._firing.run)
            await self.worker.run()

    def _told(self, step: Step) -> None:
        for listener in self.listeners:
            listener(step)
        if self.told is not None:
            self.told(step)
        if self.stirred is not None:
            self.stirred()


def make(needs: SchedulerNeeds, projects: Projects | None = None) -> HostScheduler:
    """The scheduler of a host.

    Args:
        needs: what it is made with.
        projects: as of `WorkflowRunner`.
    """
    runner = WorkflowRunner(needs.host, projects)
    return HostScheduler(
        needs.database,
        runner,
        runner,
        settings=needs.settings,
        permitted=needs.permitted,
        everything=needs.everything,
        now=needs.now,
        times=runner.times,
    )
