"""When bases and their files are brought in step, and what kept them from it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from innkeeper.errors import InnkeeperError
from innkeeper.knowledge.store.sync import FileSync
from innkeeper.storage.knowledge_model import FullError, NoSuchError, Place, VersionError

logger = logging.getLogger("innkeeper.knowledge")

FILES_EVERY: Final = 1.0
"""Seconds for which nobody looks at a base's file; and after a change, until it is written to the file."""


class FileKeeper:
    """Brings bases in step with their files now and then."""

    def __init__(self, sync: FileSync, refresh: Callable[[Place], Awaitable[None]]) -> None:
        """Args:
        sync: does so for one.
        refresh: brings what is in memory of a base up to date.
        """
        self._sync = sync
        self._refresh = refresh
        self._looked: dict[Place, float] = {}
        self._dirty: dict[Place, float] = {}
        self._wanted: dict[Place, None] = {}
        self._wake = trio.Event()
        self.serving = False
        """Whether somebody looks in the background, so that no reader need wait."""
        self.problems: dict[Place, str] = {}
        """What keeps a base and its file apart, as a sentence."""

    def due(self, place: Place) -> bool:
        """Whether it is time to look at a base's file."""
        return trio.current_time() - self._looked.get(place, -FILES_EVERY) >= FILES_EVERY

    def ask(self, place: Place) -> None:
        """Has somebody look at a base's file in the background."""
        self._looked[place] = trio.current_time()
        self._wanted[place] = None
        self._wake.set()

    async def look(self, place: Place) -> None:
        """Brings a base in step with its file, if they are not, in memory too. What keeps it from that is noted, and
        tried again later."""
        self._looked[place] = trio.current_time()
        self._dirty.pop(place, None)
        try:
            done = await self._sync.step(place)
            self.problems.pop(place, None)
            if done:
                await self._refresh(place)
        except NoSuchError:
            self._looked.pop(place, None)
            self.problems.pop(place, None)
        except (InnkeeperError, ValueError, VersionError, FullError, OSError) as error:
            # Whatever somebody did to a file or to the database: others' bases are looked at as before.
            why = error.strerror if isinstance(error, OSError) else error
            sentence = f"knowledge base {place.base!r} is not in step with its file: {why}"
            self.problems[place] = sentence
            logger.warning("%s", sentence)

    def changed(self, place: Place) -> None:
        """Says that a base has something that its file may not have."""
        self._dirty.setdefault(place, trio.current_time())
        self._wake.set()

    async def serve(self) -> None:
        """Looks at files that somebody asked for, and writes changes to files, until it is cancelled."""
        self.serving = True
        try:
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                while self._dirty or self._wanted:
                    while self._wanted:
                        await self.look(self._wanted.popitem()[0])
                    for place, since in list(self._dirty.items()):
                        if trio.current_time() - since > FILES_EVERY:
                            await self.look(place)
                    if self._dirty:
                        await trio.sleep(FILES_EVERY / 4)
        finally:
            self.serving = False

    async def flush(self) -> None:
        """Writes what is not written yet."""
        while self._dirty:
            await self.look(next(iter(self._dirty)))
