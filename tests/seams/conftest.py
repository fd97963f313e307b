"""The seams between runs and hosts, as each implementation offers them to the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import literal

from innkeeper.storage.clock import database_now
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.leaders import LeaderStore
from innkeeper.storage.run_leases import RunLeases
from innkeeper.storage.run_model import Account, AfterCrash, NewRun, QueueBounds, RunningBounds, RunStatus, StoredRun
from innkeeper.storage.run_store import RunStore
from innkeeper.storage.schedules import ScheduleStore
from innkeeper.workflow.scheduling.directory import Directory
from innkeeper.workflow.scheduling.dispatch import SqlDispatch
from innkeeper.workflow.scheduling.events import SqlEvents
from innkeeper.workflow.scheduling.leader import SqlLeader
from innkeeper.workflow.scheduling.seams import Lease

LEASE = 20.0
"""Seconds: no test waits for them, `World.leases_run_out` lets them pass."""

NOW = 1_000_000.0


class Host:
    """What one host has: nothing of it is shared with another, as if each were a process of its own."""

    def __init__(self, name: str, db: Database, world: World) -> None:
        bounds = QueueBounds(user=world.queued, everybody=world.queued_by_all)
        self.name = name
        self.store = RunStore(db, bounds=bounds)
        self.leases = RunLeases(db, bounds=RunningBounds(user=1000, plugins=1000, plugin=1000), clock=world.clock)
        self.dispatch = SqlDispatch(self.store, self.leases, name, seconds=LEASE, now=lambda: NOW, poll=0.01)
        self.directory = Directory()
        self.events = SqlEvents(db, chunk_bytes=world.chunk_bytes, poll=0.01)
        self.leader = SqlLeader(LeaderStore(db, clock=world.clock), "schedules", name, seconds=LEASE)
        self.schedules = ScheduleStore(db, bounds=bounds)

    async def put(self, run: str, owner: str = "local", after_crash: AfterCrash = "interrupt") -> None:
        """A run into storage, which is not offered yet."""
        new = NewRun(run, Account(owner), b"job", after_crash=after_crash)
        assert await self.store.submit(new, NOW, offered=False) == "accepted"

    async def submitted(self, *runs: str, after_crash: AfterCrash = "interrupt") -> None:
        """Runs that are queued."""
        for run in runs:
            await self.put(run, after_crash=after_crash)
            assert await self.dispatch.submit(run) == "accepted"

    async def find(self, run: str) -> StoredRun:
        """A run as it stands."""
        found = await self.store.find(run, NOW)
        assert found is not None
        return found

    async def end(self, lease: Lease, status: RunStatus = "complete") -> None:
        """Writes down how a run ended, and tells the dispatcher."""
        await self.events.end(lease, await self.find(lease.run), status, NOW, events=[], outputs=b"\x80")
        await self.dispatch.finish(lease)


class World:
    """Hosts that share one storage."""

    def __init__(self, path: Path, stack: AsyncExitStack) -> None:
        self.queued = 5
        self.queued_by_all = 8
        self.chunk_bytes = 4 << 20
        self._path = path
        self._stack = stack
        self._later = 0.0
        self._hosts = 0

    def clock(self) -> object:
        """The clock of the storage, from which time has passed."""
        return database_now() + literal(self._later)

    async def host(self) -> Host:
        """One more host."""
        self._hosts += 1
        db = await self._stack.enter_async_context(open_database(self._path))
        return Host(f"host{self._hosts}", db, self)

    def leases_run_out(self) -> None:
        """Time passes, and no host extended anything meanwhile."""
        self._later += 2 * LEASE


@pytest.fixture(params=["sqlite"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """Each implementation: another one is one more parameter here."""
    async with AsyncExitStack() as stack:
        yield World(tmp_path / "state" / "inn.db", stack)
