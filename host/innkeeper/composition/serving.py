"""The server of a home, put together."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from innkeeper.bridge.bridge import bridge_of
from innkeeper.composition import open_host
from innkeeper.errors import UsageError
from innkeeper.plugins.changes import Change, Listener
from innkeeper.server.accounts.identifying import Identifying
from innkeeper.server.accounts.users import accounts_of
from innkeeper.server.cache.caches import Caches
from innkeeper.server.characters.characters import Characters
from innkeeper.server.chats.local_folder import LocalFolders
from innkeeper.server.chats.store import Chats
from innkeeper.server.files.store import Files, bounds_of_files
from innkeeper.server.guards.guards import Guards
from innkeeper.server.live.board import Board
from innkeeper.server.live.feeds import Feeds
from innkeeper.server.live.live import Live
from innkeeper.server.parts import Parts
from innkeeper.server.plugins.desk import PluginDesk
from innkeeper.server.projects.desk import ProjectDesk
from innkeeper.server.runs.desk import RunDesk
from innkeeper.server.telemetry.collecting import Metrics
from innkeeper.server.telemetry.counts import Counts
from innkeeper.server.telemetry.lag import watch_lag
from innkeeper.server.telemetry.probing import Probe
from innkeeper.server.telemetry.run_log import RunLog
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
        database, settings, stopping = await bridge.database(), host.home.configuration.server, trio.Event()
        accounts = await accounts_of(database, settings, host.home.state.absolute(), os.environ)
        files = Files(host.home.path, bounds_of_files(settings))
        tasks.start_soon(files.keep_tidy)
        projects = ProjectDesk(files)
        counts = Counts()
        scheduler.listeners += (counts.step, RunLog().step)
        tasks.start_soon(watch_lag, counts.lag)
        caches, folders = Caches(), LocalFolders(files.folder.absolute() / "users")
        live = Live(Feeds(scheduler.events, tasks, watchers=settings.watchers), Board(database))
        heard.append(partial(live.board.changed, host))
        scheduler.stirred = live.board.stir
        tasks.start_soon(live.board.run)
        metrics = Metrics(counts, host, scheduler, database)
        metrics.caches.append(lambda: {name: (each.hits, each.misses) for name, each in caches.statistics().items()})
        yield Parts(
            host=host,
            home=host.home,
            database=database,
            scheduler=scheduler,
            settings=settings,
            plugins=PluginDesk(),
            runs=RunDesk(projects=projects),
            files=files,
            identify=Identifying(accounts),
            accounts=accounts,
            projects=projects,
            tasks=tasks,
            stopping=stopping,
            guards=Guards(settings, counts, metrics, Probe(database, tasks), stopping),
            caches=caches,
            chats=Chats(folders, caches),
            characters=Characters(folders, caches),
            live=live,
        )
        tasks.cancel_scope.cancel()
