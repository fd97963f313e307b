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
from innkeeper.server.files.store import Files, bounds_of_files
from innkeeper.server.identity import Identity
from innkeeper.server.parts import Parts
from innkeeper.server.projects.desk import ProjectDesk
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
        settings = host.home.configuration.server
        files = Files(host.home.path, bounds_of_files(settings))
        tasks.start_soon(files.keep_tidy)
        yield Parts(
            host=host,
            home=host.home,
            database=await bridge.database(),
            scheduler=scheduler,
            settings=settings,
            identify=_somebody_local,
            files=files,
            projects=ProjectDesk(files),
            tasks=tasks,
            stopping=trio.Event(),
        )
        tasks.cancel_scope.cancel()


async def _somebody_local(connection: HTTPConnection) -> Identity | None:
    return Identity(USER, USER, True, "local")
