"""Where the rooms are put together: a host whose services have what rooms above the bridge give them."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

import trio

from innkeeper.bridge import host as bridge_host
from innkeeper.composition.knowledge import bases_of_project, guest_bases

if TYPE_CHECKING:
    from innkeeper.bridge.runner import Scheduler, SchedulerNeeds
    from innkeeper.plugins.changes import Listener
    from innkeeper.plugins.host import Host
    from innkeeper.plugins.settings import Keep
    from innkeeper.sandbox.bounds import Bounds
    from innkeeper.sandbox.interface import Engine


def open_host(
    home: str | os.PathLike[str] | None = None,
    *,
    bounds: Bounds | None = None,
    engine: Engine | None = None,
    catalogue: bool = True,
    watch: bool = True,
    on_change: Listener | None = None,
    schedules: bool = True,
    journal: Keep | None = None,
) -> AbstractAsyncContextManager[Host]:
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
        schedules: whether the host also runs what plugins scheduled or submitted before it was opened; without, it is
            what its own plugins submit meanwhile.
        journal: which calls are kept ("never", "errors", "all"), in place of what the configuration says.

    Raises:
        UsageError: the home is not a folder, its innkeeper.toml has problems, or INNKEEPER_CACHE is no absolute path.

    Example:
        >>> async with innkeeper.open_host() as host:
        ...     result = await host.plugins["shout"].call("shout", b"hello")
    """
    return bridge_host.open_host(
        home,
        bounds=bounds,
        engine=engine,
        catalogue=catalogue,
        watch=watch,
        on_change=on_change,
        schedules=schedules,
        journal=journal,
        scheduler=_scheduler,
        knowledge=guest_bases,
    )


async def _scheduler(needs: SchedulerNeeds) -> Scheduler:
    # What executes workflows takes a while to import: when it is needed, and not on trio's thread.
    module = await trio.to_thread.run_sync(import_module, "innkeeper.workflow.scheduling.host_scheduler")
    scheduler: Scheduler = module.make(needs, partial(bases_of_project, needs.host))
    return scheduler
