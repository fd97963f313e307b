"""A host with its services: what programs and commands open."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from innkeeper.bridge.bridge import Bridge, open_bridge
from innkeeper.plugins.changes import Change, Listener
from innkeeper.plugins.home import STATE as STATE
from innkeeper.plugins.home import Home
from innkeeper.plugins.host import Host
from innkeeper.plugins.host import open_host as open_bare_host
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.interface import Engine

if TYPE_CHECKING:
    from innkeeper.bridge.knowledge import KnowledgeMaker
    from innkeeper.bridge.runner import SchedulerMaker
    from innkeeper.plugins.settings import Keep


@asynccontextmanager
async def open_host(
    home: str | os.PathLike[str] | None = None,
    *,
    bounds: Bounds | None = None,
    engine: Engine | None = None,
    catalogue: bool = True,
    watch: bool = True,
    on_change: Listener | None = None,
    schedules: bool = True,
    scheduler: SchedulerMaker | None = None,
    knowledge: KnowledgeMaker | None = None,
    journal: Keep | None = None,
) -> AsyncIterator[Host]:
    """As `innkeeper.open_host`, which gives it what it needs from the rooms above; the other arguments are the same.

    Args:
        scheduler: makes what executes the runs in the queue; None: nothing does.
        knowledge: makes what keeps knowledge bases; None: nothing does.
    """
    opened: list[Bridge] = []

    @asynccontextmanager
    async def services(home: Home) -> AsyncIterator[Bridge]:
        configuration = home.configuration
        if journal is not None:
            configuration = replace(configuration, journal=replace(configuration.journal, keep=journal))
        # What is stored in a folder that somebody else filled was perhaps never scheduled by a plugin of ours, nor
        # paused by a host of ours, whose words a record's would pass for.
        earlier = schedules and home.believed
        async with open_bridge(
            home.state, configuration, scheduler=scheduler, schedules=earlier, knowledge=knowledge, pauses=home.believed
        ) as bridge:
            bridge.listener = noticed
            opened.append(bridge)
            yield bridge

    def noticed(change: Change) -> None:
        for bridge in opened:
            bridge.noticed(change)
        if on_change is not None:
            on_change(change)

    async with AsyncExitStack() as stack:
        bare = open_bare_host(
            home,
            bounds=bounds,
            engine=engine,
            catalogue=catalogue,
            watch=watch,
            on_change=noticed,
            services=services,
        )
        host = await stack.enter_async_context(bare)
        for bridge in opened:
            await stack.enter_async_context(bridge.serving(host))
        yield host
