"""The server of a home, put together."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio
from starlette.requests import HTTPConnection

from innkeeper.bridge.bridge import bridge_of
from innkeeper.composition import open_host
from innkeeper.errors import UsageError
from innkeeper.plugins.changes import Change, Listener
from innkeeper.server.identity import Identity
from innkeeper.server.live.board import Board
from innkeeper.server.live.feeds import Feeds
from innkeeper.server.live.live import Live
from innkeeper.server.parts import Parts
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
    heard: list[Listener] = [] if on_change is None else [on_change]

    def changed(change: Change) -> None:
        for listener in heard:
            listener(change)

    async with open_host(home, watch=watch, on_change=changed) as host, trio.open_nursery() as tasks:
        bridge = bridge_of(host)
        if bridge.scheduler is None:
            raise UsageError("this home's queue is not executed here")
        scheduler = await bridge.scheduler.get()
        assert isinstance(scheduler, HostScheduler)
        database, settings = await bridge.database(), host.home.configuration.server
        live = Live(Feeds(scheduler.events, tasks, watchers=settings.watchers), Board(database))
        heard.append(partial(live.board.changed, host))
        scheduler.stirred = live.board.stir
        tasks.start_soon(live.board.run)
        yield Parts(
            host=host,
            home=host.home,
            database=database,
            scheduler=scheduler,
            settings=settings,
            identify=_somebody_local,
            tasks=tasks,
            stopping=trio.Event(),
            live=live,
        )
        tasks.cancel_scope.cancel()


async def _somebody_local(connection: HTTPConnection) -> Identity | None:
    return Identity(USER, USER, True, "local")
