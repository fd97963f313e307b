"""What stands behind the service `scheduler`: opened when it is needed, and who may start something."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import trio

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.quota import Rate, TokenBucket
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.bridge.runner import Job, Scheduler
from innkeeper.errors import InnkeeperError
from innkeeper.storage.names import check_name

if TYPE_CHECKING:
    from innkeeper.plugins.settings import RunsSettings
    from innkeeper.storage.database import Database
    from innkeeper.storage.run_store import RunStore
    from innkeeper.storage.schedules import ScheduleStore

logger = logging.getLogger("innkeeper.bridge")

SUBMISSIONS: Final = Rate(per_second=2, burst=16)
"""Calls of one plugin that submit or schedule something: each checks a workflow."""

MOST_GENERATIONS: Final = 4
"""A run that a run submitted that a run submitted that a run submitted: it may submit no more."""

_POLL = 5.0
"""Seconds after which it is looked at whether there may be something to run."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What the service works with, once it is needed."""

    runs: RunStore
    schedules: ScheduleStore
    scheduler: Scheduler


class Front:
    """Opens the desk, and lets in who may start something."""

    def __init__(
        self,
        database: Callable[[], Awaitable[Database]],
        scheduler: Callable[[], Awaitable[Scheduler]] | None,
        *,
        settings: RunsSettings,
        known: Callable[[], bool],
        now: Callable[[], float] = time.time,
        everything: bool = True,
        kept: Callable[[], bool] | None = None,
    ) -> None:
        """Args:
        database: opens where runs and schedules are kept, at the first need.
        scheduler: makes what executes them, at the first need; None: this host executes none for plugins.
        settings: what the operator decided.
        known: whether somebody may have something to run; quick.
        now: seconds since 1970; called on trio's thread.
        everything: whether what was submitted or scheduled earlier is a reason to begin.
        kept: whether there is a database that may hold something; called in a thread. None: there is.
        """
        self._database = database
        self._scheduler = scheduler
        self._settings = settings
        self._known = known
        self.now = now
        self._everything = everything
        self._kept = kept
        self._made: Desk | None = None
        self._making = trio.Lock()
        self._buckets: dict[str, TokenBucket] = {}

    async def serve(self) -> None:
        """Sees to it that what is queued runs and what is due fires, as soon as there may be something."""
        failing = False
        while self._scheduler is not None and self._everything and self._made is None:
            if self._known() and await self._kept_something():
                try:
                    await self.opened()
                    return
                except InnkeeperError as error:
                    # Who asks for something learns that it failed; here it is tried again.
                    if not failing:
                        logger.warning("the scheduler does not run yet: %s", error)
                    failing = True
            await trio.sleep(_POLL)

    async def _kept_something(self) -> bool:
        return self._kept is None or await trio.to_thread.run_sync(self._kept)

    async def opened(self) -> Desk:
        """The desk.

        Raises:
            ServiceError: this host has none.
            RejectedError, BusyError, UsageError: as `open_database`.
        """
        if self._scheduler is None:
            raise ServiceError(Refusal.UNAVAILABLE, "this host runs no workflows for plugins")
        async with self._making:
            if self._made is None:
                database = await self._database()
                # It brings the time zones, which takes a while: not on trio's thread.
                await trio.to_thread.run_sync(import_module, "innkeeper.bridge.cron")
                from innkeeper.storage.run_model import QueueBounds
                from innkeeper.storage.run_store import RunStore
                from innkeeper.storage.schedules import ScheduleStore

                bounds = QueueBounds(self._settings.queued, self._settings.queued_by_all)
                runs, schedules = RunStore(database, bounds=bounds), ScheduleStore(database, bounds=bounds)
                self._made = Desk(runs, schedules, await self._scheduler())
        return self._made

    async def ready(self, caller: Caller, name: str) -> tuple[Desk, int]:
        """What is needed to start something, and the generation of what is started.

        Raises:
            ServiceError: it asks too often, or too many runs lie between it and who began.
        """
        check_name(name, "name", empty=True)
        bucket = self._buckets.get(caller.plugin)
        if bucket is None:
            bucket = self._buckets[caller.plugin] = TokenBucket(SUBMISSIONS, trio.current_time())
        if not bucket.take(trio.current_time()):
            raise ServiceError(
                Refusal.QUOTA,
                f"the plugin starts workflows more than {SUBMISSIONS.per_second:g} times a second; do it less often",
            )
        desk = await self.opened()
        generation = 1 if caller.run is None else desk.scheduler.generation(caller.run.run.id) + 1
        if generation > MOST_GENERATIONS:
            raise ServiceError(
                Refusal.QUOTA,
                f"a run that was started by a run may start others up to {MOST_GENERATIONS} deep",
                quota="generations",
                value=MOST_GENERATIONS,
            )
        return desk, generation

    async def checked(self, desk: Desk, workflow: dict[str, Any], inputs: dict[str, Any] | None) -> bytes:
        """A job that could run now, as it is kept.

        Raises:
            ProblemsError: all that is wrong with it.
        """
        job = Job(workflow, inputs or {})
        await desk.scheduler.check(job)
        return job.packed()
