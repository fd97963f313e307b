"""The scheduler of a host, made when somebody first needs it, and running from then on."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from innkeeper.bridge.background import Background
from innkeeper.bridge.runner import Scheduler, SchedulerMaker, SchedulerNeeds

if TYPE_CHECKING:
    from innkeeper.plugins.host import Host
    from innkeeper.plugins.settings import RunsSettings
    from innkeeper.storage.database import Database

logger = logging.getLogger("innkeeper.bridge")


class LazyScheduler:
    """Makes one scheduler, however many ask for it at the same time."""

    def __init__(
        self,
        make: SchedulerMaker,
        host: Callable[[], Host],
        database: Callable[[], Awaitable[Database]],
        background: Background,
        settings: RunsSettings,
        *,
        everything: bool,
    ) -> None:
        """Args:
        make: makes it.
        host: whose it is; raises UsageError before it is up and once it closes.
        database: opens where runs and schedules are.
        background: in which it runs.
        settings: what the operator decided.
        everything: as `SchedulerNeeds.everything`.
        """
        self._make = make
        self._host = host
        self._database = database
        self._background = background
        self._settings = settings
        self._everything = everything
        self._made: Scheduler | None = None
        self._making = trio.Lock()

    @property
    def everything(self) -> bool:
        """Whether it executes what others submitted, and fires schedules."""
        return self._everything

    async def get(self) -> Scheduler:
        """The scheduler, which runs.

        Raises:
            RejectedError, BusyError, UsageError: as `open_database`.
        """
        async with self._making:
            if self._made is None:
                host, database = self._host(), await self._database()

                def permitted(plugin: str) -> bool:
                    return may_start(host, plugin)

                needs = SchedulerNeeds(host, database, permitted, self._settings, self._everything)
                made = await self._make(needs)
                self._background.start("the scheduler", made.run)
                self._made = made
        return self._made


def may_start(host: Host, plugin: str) -> bool:
    """Whether a plugin (its id) may start workflows now."""
    found = host.plugins.get(plugin)
    return found is not None and found.gone is None and bool(found.rights.scopes("scheduler.submit"))
