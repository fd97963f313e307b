"""Whether the database answers, and how many runs wait in it."""

from __future__ import annotations

import logging
from typing import Final

import trio
from sqlalchemy import Connection, func, select

from innkeeper.errors import InnkeeperError
from innkeeper.storage.database import Database
from innkeeper.storage.runs_schema import runs

logger = logging.getLogger("innkeeper.server")

PATIENCE: Final = 1.0
"""Seconds that the database has: who balances loads asks every few seconds, and goes elsewhere."""


class Probe:
    """Asks the database. However many want to know, it is asked once at a time: a read that a server does not answer
    cannot be taken back, and one for each look would soon be all there are."""

    def __init__(self, database: Database, tasks: trio.Nursery) -> None:
        """Args:
        database: which.
        tasks: where the asking goes on when nobody waits for it any more.
        """
        self._database = database
        self._tasks = tasks
        self._answered: trio.Event | None = None
        self._queued: int | None = None

    async def queued(self, patience: float = PATIENCE) -> int | None:
        """How many runs wait.

        Args:
            patience: seconds.

        Returns:
            int | None: None: the database did not answer in time, or with an error.
        """
        answered = self._answered
        if answered is None:
            answered = self._answered = trio.Event()
            self._tasks.start_soon(self._ask, answered)
        with trio.move_on_after(patience):
            await answered.wait()
            return self._queued
        return None

    async def _ask(self, answered: trio.Event) -> None:
        try:
            self._queued = await self._database.read(_count)
        except InnkeeperError as error:
            self._queued = None
            logger.warning("the database does not answer: %s", error)
        finally:
            self._answered = None
            answered.set()


def _count(connection: Connection) -> int:
    found: int = connection.scalar(select(func.count()).select_from(runs).where(runs.c.status == "queued")) or 0
    return found
