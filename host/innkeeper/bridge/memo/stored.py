"""The remembered results of a home, for whoever looks at them without running a host."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from innkeeper.bridge.bridge import location_of
from innkeeper.plugins.home import Home
from innkeeper.storage.database import open_database
from innkeeper.storage.memo import MemoStore
from innkeeper.storage.run_model import USER


class Stored:
    """The results of one owner on disk. Made by `open_stored`."""

    def __init__(self, store: MemoStore | None, owner: str) -> None:
        self._store = store
        self._owner = owner

    async def usage(self) -> tuple[int, int]:
        """How many there are, and what they count (bytes); some of those that are too old are deleted before."""
        if self._store is None:
            return 0, 0
        await self._store.sweep()
        return await self._store.usage(self._owner)

    async def erase(self) -> int:
        """Deletes all; gives how many (int). A host that runs goes on with those that it has in memory."""
        return 0 if self._store is None else await self._store.erase(self._owner)


@asynccontextmanager
async def open_stored(home: Home, owner: str = USER) -> AsyncIterator[Stored]:
    """An owner's results of a home for the time of an `async with`. Where nothing was ever kept, nothing is made.

    Raises:
        RejectedError, BusyError, UsageError: as `storage.database.open_database`.
    """
    location = location_of(home.state, home.configuration)
    if not location.may_be_there():
        yield Stored(None, owner)
        return
    async with open_database(location, readers=1) as database:
        yield Stored(MemoStore(database, days=home.configuration.memo.days), owner)
