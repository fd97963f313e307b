"""Deletes what has had its time, while the host runs: a little, then a pause in which others write."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from innkeeper.errors import InnkeeperError
from innkeeper.plugins.configuration import Configuration

if TYPE_CHECKING:
    from innkeeper.storage.database import Database

logger = logging.getLogger("innkeeper.bridge")

FIRST: Final = 60.0
"""Seconds after which a host sweeps first: who runs one workflow and ends pays for none of it."""

EVERY: Final = 3600.0
"""Seconds from one sweep to the next."""

BREATH: Final = 0.05
"""Seconds between two steps, each of which holds the writer up for some milliseconds."""

MOST_STEPS: Final = 10_000
"""Steps of one sweep: what is left then waits for the next one."""


class Sweeper:
    """Sweeps a host's database, if there is one: it makes none."""

    def __init__(
        self,
        path: Path,
        database: Callable[[], Awaitable[Database]],
        configuration: Configuration,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Args:
        path: the database's file.
        database: opens it.
        configuration: says for how long what is kept.
        now: seconds since 1970; called from any thread.
        """
        self._path = path
        self._database = database
        self._configuration = configuration
        self._now = now

    async def run(self) -> None:
        """Sweeps now and then until it is cancelled."""
        await trio.sleep(FIRST)
        while True:
            try:
                await self.sweep()
            except InnkeeperError as error:
                # A disk that is full or a database that is busy may be another thing in an hour.
                logger.warning("sweeping failed, and is tried again in an hour: %s", error)
            await trio.sleep(EVERY)

    async def sweep(self) -> dict[str, int]:
        """Deletes what has had its time; gives how many (int) by what they are, of those of which there were any.

        Raises:
            RejectedError, BusyError, UsageError: as `storage.database.open_database`.
        """
        if not await trio.to_thread.run_sync(os.path.lexists, self._path):
            return {}
        database = await self._database()
        # Importing takes a while: not on trio's thread.
        sweeping = await trio.to_thread.run_sync(import_module, "innkeeper.storage.sweeping")
        settings = self._configuration
        kept = sweeping.Kept(
            audit_days=settings.retention.audit_days,
            event_days=settings.retention.event_days,
            journal_days=settings.journal.days,
            memo_days=settings.memo.days,
            run_days=settings.retention.run_days,
            run_bytes=settings.retention.run_bytes,
        )
        gone: dict[str, int] = {}
        for sweep in sweeping.sweeps(database, kept, now=self._now):
            try:
                for _ in range(MOST_STEPS):
                    count = await sweep.step()
                    if not count:
                        break
                    gone[sweep.name] = gone.get(sweep.name, 0) + count
                    await trio.sleep(BREATH)
            except InnkeeperError as error:
                # One of them must not keep the others.
                logger.warning("sweeping %s failed, and is tried again in an hour: %s", sweep.name, error)
        if gone:
            logger.info("swept %s", ", ".join(f"{count:,} {name}" for name, count in gone.items()))
        return gone
