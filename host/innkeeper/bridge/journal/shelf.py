"""The journals of a home, for whoever looks at them without running a host."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from innkeeper.bridge.bridge import location_of
from innkeeper.plugins.home import Home
from innkeeper.storage.database import open_database
from innkeeper.storage.journals import JournalStore
from innkeeper.storage.run_model import USER

if TYPE_CHECKING:
    from innkeeper.storage.journals import JournalHead


class Shelf:
    """The journals of one owner. Made by `open_shelf`."""

    def __init__(self, store: JournalStore | None, owner: str) -> None:
        self._store = store
        self._owner = owner

    async def list(self, limit: int) -> list[JournalHead]:
        """The newest ones, newest first; those that are too old are deleted, some at a time."""
        if self._store is None:
            return []
        await self._store.sweep()
        return await self._store.list(self._owner, limit=limit)

    async def usage(self) -> tuple[int, int]:
        """How many there are on disk, and their bytes."""
        return (0, 0) if self._store is None else await self._store.usage(self._owner)

    async def get(self, number: int) -> tuple[JournalHead, bytes] | None:
        """One and its bytes, or None."""
        return None if self._store is None else await self._store.get(self._owner, number)

    async def delete(self, number: int) -> bool:
        """Deletes one; False if there was none."""
        return self._store is not None and await self._store.delete(self._owner, number)

    async def erase(self) -> int:
        """Deletes all; gives how many (int)."""
        return 0 if self._store is None else await self._store.erase(self._owner)


@asynccontextmanager
async def open_shelf(home: Home, owner: str = USER) -> AsyncIterator[Shelf]:
    """An owner's journals of a home for the time of an `async with`. Where nothing was ever kept, nothing is made.

    Raises:
        RejectedError, BusyError, UsageError: as `storage.database.open_database`.
    """
    location = location_of(home.state, home.configuration)
    if not location.may_be_there():
        yield Shelf(None, owner)
        return
    settings = home.configuration.journal
    async with open_database(location, readers=1) as database:
        yield Shelf(JournalStore(database, days=settings.days, total_bytes=settings.total_bytes), owner)
