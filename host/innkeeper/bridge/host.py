"""A host with its services: what programs and commands open."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from innkeeper.bridge.bridge import Bridge, open_bridge
from innkeeper.plugins.changes import Listener
from innkeeper.plugins.home import Home
from innkeeper.plugins.host import Host
from innkeeper.plugins.host import open_host as open_bare_host
from innkeeper.plugins.settings import Keep
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.interface import Engine

STATE = "state"
"""The folder of a home in which the host keeps what plugins store."""


@asynccontextmanager
async def open_host(
    home: str | os.PathLike[str] | None = None,
    *,
    bounds: Bounds | None = None,
    engine: Engine | None = None,
    catalogue: bool = True,
    watch: bool = True,
    on_change: Listener | None = None,
    journal: Keep | None = None,
) -> AsyncIterator[Host]:
    """Opens a host for the time of an `async with`, with the services that plugins of its home may be granted.

    Args:
        home: the home folder; by default the variable INNKEEPER_HOME, else the working directory if it has a folder
            `plugins`, else the platform's data folder.
        bounds: what all guests may use together, in place of what innkeeper.toml says.
        engine: another engine, which the caller closes, in place of one with the cache that innkeeper.toml names.
        catalogue: whether the plugins of the home are read; without, `Host.load` is all there is.
        watch: whether the host follows the home's files while it runs, as a program that goes on for long wants it;
            without, they are read as it opens, and by `Host.reload`.
        on_change: called on trio's thread with each `Change` that is in force; it must not block.
        journal: which calls are kept ("never", "errors", "all"), in place of what innkeeper.toml says.

    Raises:
        UsageError: the home is not a folder, its innkeeper.toml has problems, or INNKEEPER_CACHE is no absolute path.

    Example:
        >>> async with innkeeper.open_host() as host:
        ...     result = await host.plugins["shout"].call("shout", b"hello")
    """
    opened: list[Bridge] = []

    @asynccontextmanager
    async def services(home: Home) -> AsyncIterator[Bridge]:
        configuration = home.configuration
        if journal is not None:
            configuration = replace(configuration, journal=replace(configuration.journal, keep=journal))
        async with open_bridge(home.path / STATE, configuration) as bridge:
            opened.append(bridge)
            yield bridge

    async with AsyncExitStack() as stack:
        bare = open_bare_host(
            home,
            bounds=bounds,
            engine=engine,
            catalogue=catalogue,
            watch=watch,
            on_change=on_change,
            services=services,
        )
        host = await stack.enter_async_context(bare)
        for bridge in opened:
            await stack.enter_async_context(bridge.serving(host))
        yield host
