"""The server of a home, put together."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from starlette.requests import HTTPConnection

from innkeeper.bridge.bridge import bridge_of
from innkeeper.composition import open_host
from innkeeper.errors import UsageError
from innkeeper.plugins.changes import Listener
from innkeeper.server.guards.guards import Guards
from innkeeper.server.identity import Identity
from innkeeper.server.parts import Parts
from innkeeper.server.telemetry.collecting import Metrics
from innkeeper.server.telemetry.counts import Counts
from innkeeper.server.telemetry.lag import watch_lag
from innkeeper.server.telemetry.probing import Probe
from innkeeper.server.telemetry.run_log import RunLog
from innkeeper.storage.run_model import USER
from innkeeper.workflow.scheduling.host_scheduler import HostScheduler


@asynccontextmanager
async def open_parts(
    home: str | os.PathLike[str] | None = None, *, watch: bool = True, on_change: Listener | None = None
) -> AsyncIterator[Parts]:
    """What a server of a home works with: its host, which executes the queue, and its database.

    Args:
        home, watch, on_change: as of `open_host`.

    Raises:
        UsageError: as `open_host`.
    """
    async with open_host(home, watch=watch, on_change=on_change) as host, trio.open_nursery() as tasks:
        bridge = bridge_of(host)
        if bridge.scheduler is None:
            raise UsageError("this home's queue is not executed here")
        scheduler = await bridge.scheduler.get()
        assert isinstance(scheduler, HostScheduler)
        database, settings, stopping = await bridge.database(), host.home.configuration.server, trio.Event()
        counts = Counts()
        scheduler.listeners += (counts.step, RunLog().step)
        tasks.start_soon(watch_lag, counts.lag)
        yield Parts(
            host=host,
            home=host.home,
            database=database,
            scheduler=scheduler,
            settings=settings,
            identify=_somebody_local,
            tasks=tasks,
            stopping=stopping,
            guards=Guards(
                settings, counts, Metrics(counts, host, scheduler, database), Probe(database, tasks), stopping
            ),
        )
        tasks.cancel_scope.cancel()


async def _somebody_local(connection: HTTPConnection) -> Identity | None:
    return Identity(USER, USER, True, "local")
