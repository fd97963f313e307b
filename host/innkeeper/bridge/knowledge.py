"""What the service `kb` needs from whatever keeps knowledge bases."""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from innkeeper.storage.knowledge_model import Draft, Entry, Filters, Head, Hit, Place

if TYPE_CHECKING:
    from innkeeper.storage.database import Database


class KnowledgeBases(Protocol):
    """Entries of knowledge bases. Who may see or change which base is decided before any of this is called.

    All methods raise `storage.knowledge_model.NoSuchError` where there is no such base or entry, `VersionError` where
    an entry has another version than was expected, `FullError` where something does not fit, ValueError where an
    argument is out of bounds, and BusyError.
    """

    async def search(self, place: Place, query: str, *, k: int, filters: Filters) -> builtins.list[Hit]:
        """The entries that answer a query best, the best first.

        Args:
            place: the base.
            query: text, at most `MOST_QUERY` characters.
            k: how many at most, 1 to `MOST_HITS`.
            filters: which ones.
        """
        ...

    async def get(self, place: Place, id: str) -> Entry:
        """A whole entry."""
        ...

    async def list(self, place: Place, *, after: str, limit: int, filters: Filters) -> builtins.list[Head]:
        """Entries in the order of their ids' bytes.

        Args:
            place: the base.
            after: the last id of the page before, or "".
            limit: how many at most, 1 to `MOST_LISTED`.
            filters: which ones.
        """
        ...

    async def put(
        self, place: Place, id: str, draft: Draft, *, source: str, author: str, expect: int | None = None
    ) -> Head:
        """Keeps an entry, in place of the one that is there.

        Args:
            place: the base.
            id: of the entry.
            draft: what it becomes.
            source: where it comes from.
            author: id of the plugin that writes it, or "".
            expect: the version that it must have, 0 if it must not exist, or None.

        Returns:
            what it is now; with the version 0 where it waits for somebody's consent
        """
        ...

    async def delete(self, place: Place, id: str, *, expect: int | None = None, author: str = "") -> None:
        """Deletes an entry.

        Args:
            place: the base.
            id: of the entry.
            expect: the version that it must have, or None.
            author: id of the plugin that deletes it, or "".
        """
        ...

    async def serve(self) -> None:
        """What goes on while no guest asks, until it is cancelled."""
        ...

    async def aclose(self) -> None:
        """Writes what is not written yet; the database is open still."""
        ...


KnowledgeMaker = Callable[[Callable[[], Awaitable["Database"]]], Awaitable[KnowledgeBases]]
"""Makes what keeps knowledge bases. Its argument opens the database, at the first need."""
