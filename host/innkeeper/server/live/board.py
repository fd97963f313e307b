"""What every socket is told, whatever it watches: how much waits in the queue, and what became of plugins."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import trio
from sqlalchemy import func, select

from innkeeper.errors import InnkeeperError
from innkeeper.plugins.changes import Change
from innkeeper.server.live.messages import encoded_object
from innkeeper.storage.database import Database
from innkeeper.storage.runs_schema import runs

if TYPE_CHECKING:
    from innkeeper.plugins.host import Host

logger = logging.getLogger("innkeeper.server")

QUEUE: Final = "SYSTEM_QUEUE_UPDATE"
RELOADED: Final = "NODES_RELOADED"

WAITING: Final = 64
"""Messages that wait for one socket: a plugin that changes has two. Of more the oldest go: the last ones say how many
nodes and runs there are now."""

PAUSE: Final = 0.1
"""Seconds between two looks at the queue: runs of small nodes begin and end some hundred times a second."""


class Board:
    """Where it is written. From trio's thread."""

    def __init__(self, database: Database) -> None:
        """Args:
        database: in which runs are.
        """
        self._database = database
        self._ears: set[Ear] = set()
        self._stirred = trio.Event()

    @contextmanager
    def hearing(self) -> Iterator[Ear]:
        """What is told from now on, for one socket."""
        ear = Ear()
        self._ears.add(ear)
        try:
            yield ear
        finally:
            self._ears.discard(ear)

    def stir(self) -> None:
        """The queue is another now. Returns at once; never raises."""
        self._stirred.set()

    async def queue(self) -> bytes:
        """How many runs go on and wait, everybody's, as a message.

        Raises:
            InnkeeperError: as `Database.read`.
        """
        # A run that nobody may take yet waits for nothing.
        query = select(runs.c.status, func.count()).where(runs.c.status.in_(("queued", "running")), runs.c.offered)

        def read(connection: Any) -> dict[str, int]:
            return dict(connection.execute(query.group_by(runs.c.status)).all())

        counts = await self._database.read(read)
        running, pending = counts.get("running", 0), counts.get("queued", 0)
        return encoded_object(QUEUE, {"runningExecutions": running, "pendingExecutions": pending})

    async def run(self) -> None:
        """Tells of the queue where it is another, until it is cancelled."""
        said = b""
        while True:
            await self._stirred.wait()
            self._stirred = trio.Event()
            if self._ears:
                try:
                    now = await self.queue()
                except InnkeeperError as error:
                    # What is told next says it too.
                    logger.warning("the length of the queue could not be read: %s", error)
                    continue
                if now != said:
                    said = now
                    self._tell(now)
            await trio.sleep(PAUSE)

    def changed(self, host: Host, change: Change) -> None:
        """A plugin of the host is another now. Its text names files, which are the operator's alone, and stays here."""
        if change.plugin is None or change.kind == "problem":
            return
        if change.kind in ("added", "resumed"):
            self._tell(encoded_object("plugin-enabled", {"plugin": _about(host, change.plugin)}))
        elif change.kind in ("removed", "paused"):
            self._tell(encoded_object("plugin-disabled", {"pluginName": change.plugin}))
        else:
            said = {"message": f"the plugin {change.plugin} is another now", "reloadedPluginCount": 1}
            self._tell(encoded_object("plugins-reloaded", said))
        if change.kind in ("added", "changed", "removed"):
            self.reloaded(host)

    def reloaded(self, host: Host) -> None:
        """There are other nodes than before, perhaps."""
        count = len(host.node_types())
        self._tell(encoded_object(RELOADED, {"success": True, "message": f"{count:,} node types", "count": count}))

    def _tell(self, text: bytes) -> None:
        for ear in self._ears:
            ear.put(text)


class Ear:
    """What is told to one socket: `async for text in ear`."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque(maxlen=WAITING)
        self._came = trio.Event()

    def put(self, text: bytes) -> None:
        """Something is told."""
        self._waiting.append(text)
        self._came.set()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._waiting:
            self._came = trio.Event()
            await self._came.wait()
        return self._waiting.popleft()


def _about(host: Host, plugin: str) -> Mapping[str, Any]:
    """A plugin as clients know it."""
    found = host.plugins.get(plugin)
    manifest = None if found is None else found.manifest
    if manifest is None:
        return {"name": plugin, "displayName": plugin, "version": "", "isEnabled": True}
    return {
        "name": plugin,
        "displayName": manifest.name or plugin,
        "version": manifest.version,
        "description": manifest.description or "",
        "isEnabled": True,
    }
