"""What stands behind the service `scheduler`: made when it is needed, and who may start something."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgpack
import trio

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.quota import Rate, TokenBucket
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.bridge.runner import Job, Runner
from innkeeper.errors import InnkeeperError
from innkeeper.storage.names import check_name

if TYPE_CHECKING:
    from innkeeper.bridge.run_loop import RunLoop
    from innkeeper.storage.database import Database
    from innkeeper.storage.runs import RunStore
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
    runner: Runner
    loop: RunLoop


class Front:
    """Opens the desk, and lets in who may start something."""

    def __init__(
        self,
        database: Callable[[], Awaitable[Database]],
        runner: Callable[[], Awaitable[Runner]] | None,
        *,
        state: Path | None,
        known: Callable[[], bool],
        permitted: Callable[[str], bool],
        now: Callable[[], float] = time.time,
        everything: bool = True,
        kept: Callable[[], bool] | None = None,
    ) -> None:
        """Args:
        database: opens where runs and schedules are kept, at the first need.
        runner: makes what runs workflows, at the first need; None: this host runs none for plugins.
        state: the folder in which the lock is; None: this process is the only one.
        known: whether somebody may have something to run; quick.
        permitted: whether a plugin may start workflows now.
        now: seconds since 1970; called on trio's thread.
        everything: whether schedules fire, and runs begin that others submitted; else this process runs what its own
            guests submit.
        kept: whether there is a database that may hold something; called in a thread. None: there is.
        """
        self._database = database
        self._make_runner = runner
        self._state = state
        self._known = known
        self._permitted = permitted
        self.now = now
        self._everything = everything
        self._kept = kept
        self._made: Desk | None = None
        self._making = trio.Lock()
        self._wanted = trio.Event()
        self._buckets: dict[str, TokenBucket] = {}

    async def serve(self) -> None:
        """Runs what is queued and fires what is due, as soon as there may be something."""
        if self._make_runner is None:
            return
        failing = False
        while True:
            earlier = self._everything and self._known() and await self._kept_something()
            if self._wanted.is_set() or earlier:
                try:
                    desk = await self.opened()
                    break
                except InnkeeperError as error:
                    # Who asks for something learns that it failed; here it is tried again.
                    if not failing:
                        logger.warning("the scheduler does not run yet: %s", error)
                    failing = True
                    self._wanted = trio.Event()
            with trio.move_on_after(_POLL):
                await self._wanted.wait()
        await desk.loop.run()

    async def _kept_something(self) -> bool:
        return self._kept is None or await trio.to_thread.run_sync(self._kept)

    async def opened(self) -> Desk:
        """The desk.

        Raises:
            ServiceError: this host has none.
            RejectedError, BusyError, UsageError: as `open_database`.
        """
        if self._make_runner is None:
            raise ServiceError(Refusal.UNAVAILABLE, "this host runs no workflows for plugins")
        async with self._making:
            if self._made is None:
                database = await self._database()
                # It brings the time zones, which takes a while: not on trio's thread.
                await trio.to_thread.run_sync(import_module, "innkeeper.bridge.run_loop")
                from innkeeper.bridge.run_loop import RunLoop
                from innkeeper.storage.process_lock import ProcessLock
                from innkeeper.storage.runs import RunStore
                from innkeeper.storage.schedules import ScheduleStore

                runs, schedules = RunStore(database), ScheduleStore(database)
                runner = await self._make_runner()
                lock = _Alone() if self._state is None else ProcessLock(self._state.absolute() / "scheduler.lock")
                loop = RunLoop(
                    runs,
                    schedules,
                    runner,
                    lock=lock,
                    permitted=self._permitted,
                    now=self.now,
                    everything=self._everything,
                )
                self._made = Desk(runs, schedules, runner, loop)
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
        parent = None if caller.run is None else desk.loop.active.get(caller.run.run.id)
        generation = 1 if parent is None else parent.run.generation + 1
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
        await desk.runner.check(job)
        packed: bytes = msgpack.packb({"workflow": job.workflow, "inputs": job.inputs})
        return packed

    def wake(self, desk: Desk, submitted: str | None = None) -> None:
        """There is something new to run: a run (its id) or a schedule."""
        self._wanted.set()
        desk.loop.wake(submitted)


class Lock(Protocol):
    """What one process at a time holds; its methods may block."""

    def take(self) -> bool:
        """Takes it if nobody has it."""
        ...

    def release(self) -> None:
        """Lets go of it."""
        ...


class _Alone:
    """The lock of the only process."""

    def take(self) -> bool:
        return True

    def release(self) -> None:
        return None


def new_id() -> str:
    """An id (str) of a run or a schedule that nobody can guess."""
    return secrets.token_urlsafe(16)
