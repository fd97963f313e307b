"""How busy the server is."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Annotated

from innkeeper.sandbox.engine import FiberEngine
from innkeeper.server.guards.bodies import BoundedRouter
from innkeeper.server.identity import Identity, scoped
from innkeeper.server.models import ASKED, Model
from innkeeper.server.parts import PartsOf

router = BoundedRouter(tags=["system"])


class Guests(Model):
    """Guests that live, calls that wait for a place, and how many may live."""

    live: int
    waiting: int
    limit: int


class GuestMemory(Model):
    """Bytes that guests have together, and that they may have."""

    taken: int
    limit: int


class SystemStats(Model):
    """How busy the server is.

    Attributes:
        max_concurrent_workflows: runs that this host executes at the same time.
        running_executions: runs of everybody's that hosts execute.
        pending_executions: runs of everybody's that wait.
        version: of Innkeeper.
        uptime: seconds since the server began.
        guests: None where another engine than the host's own runs them.
        guest_memory: as `guests`.
    """

    max_concurrent_workflows: int
    running_executions: int
    pending_executions: int
    version: str
    uptime: float
    guests: Guests | None = None
    guest_memory: GuestMemory | None = None


@router.get("/api/system_stats", responses=ASKED)
async def system_stats(parts: PartsOf, identity: Annotated[Identity, scoped("runs")]) -> SystemStats:
    """How busy the server is: counts alone, nobody's names."""
    counts = await parts.scheduler.store.under_way()
    engine = parts.host.engine
    fibers = engine if isinstance(engine, FiberEngine) else None
    return SystemStats(
        max_concurrent_workflows=parts.home.configuration.runs.parallel,
        running_executions=counts["running"],
        pending_executions=counts["queued"],
        version=version("innkeeper"),
        uptime=round(time.monotonic() - parts.runs.began, 3),
        guests=None
        if fibers is None
        else Guests(live=fibers.live.taken, waiting=fibers.live.waiting, limit=fibers.live.limit),
        guest_memory=None if fibers is None else GuestMemory(taken=fibers.memory.taken, limit=fibers.memory.limit),
    )
