"""Fires what is due: by one host at a time, and each time of a schedule once, whoever fires it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

import trio

from innkeeper.bridge.cron import next_due
from innkeeper.errors import InnkeeperError
from innkeeper.storage.names import new_id
from innkeeper.storage.schedules import ScheduleStore
from innkeeper.storage.schedules_model import Schedule
from innkeeper.workflow.scheduling.seams import Leader

logger = logging.getLogger("innkeeper.workflow")

POLL: Final = 1.0
"""Seconds after which it is looked at what is due next: another process may have added a schedule. A look costs about
0.2 ms of a thread."""

AGAIN: Final = 60.0
"""Seconds until a schedule is looked at again that could not fire: its queue is full, or its plugin has no right."""

_LATER: Final = 5.0


class Schedules:
    """Fires schedules of any owner."""

    def __init__(
        self,
        store: ScheduleStore,
        leader: Leader,
        *,
        permitted: Callable[[str], bool],
        fired: Callable[[], None],
        now: Callable[[], float] = time.time,
        poll: float = POLL,
    ) -> None:
        """Args:
        store: of the schedules.
        leader: says whether this host is the one.
        permitted: whether a plugin may start workflows now.
        fired: called when runs were queued.
        now: seconds since 1970; called on trio's thread.
        poll: seconds between two looks.
        """
        self._store = store
        self._leader = leader
        self._permitted = permitted
        self._fired = fired
        self._now = now
        self._poll = poll
        self._rung = trio.Event()

    def ring(self) -> None:
        """There may be a new schedule."""
        self._rung.set()

    async def run(self) -> None:
        """Fires what is due, until it is cancelled."""
        failing = False
        while True:
            pause = self._poll
            try:
                pause = await self.fire()
                failing = False
            except InnkeeperError as error:
                if not failing:
                    logger.warning("schedules could not be looked at, and this is tried again: %s", error)
                failing = True
            with trio.move_on_after(pause):
                await self._rung.wait()
            self._rung = trio.Event()

    async def fire(self) -> float:
        """Fires what is due; gives for how many seconds there is nothing to do (float)."""
        look = await self._store.next_look()
        if look is None or look > self._now():
            return self._poll if look is None else min(self._poll, look - self._now())
        if await self._leader.epoch() is None:
            return min(self._poll * 5, _LATER)
        while due := await self._store.due(self._now()):
            for schedule in due:
                await self._fire_one(schedule)
        return 0.0

    async def _fire_one(self, schedule: Schedule) -> None:
        now = self._now()
        answer = "full"
        if not schedule.account.plugin or self._permitted(schedule.account.plugin):
            try:
                following = await self._following(schedule, now)
            except ValueError as error:
                # The system's time zones may have changed.
                logger.warning("the schedule %s cannot fire: %s", schedule.id, error)
            else:
                answer = await self._store.fire(schedule, new_id(), now, following)
        if answer == "fired":
            self._fired()
        if answer == "full":
            await self._store.postpone(schedule, now + AGAIN)

    async def _following(self, schedule: Schedule, now: float) -> float | None:
        if not schedule.expression:
            return None
        # After now: of the times that passed while no host was up, one fires.
        return await trio.to_thread.run_sync(next_due, schedule.expression, schedule.timezone, max(now, schedule.due))
