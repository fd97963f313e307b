"""What the service `kb` needs from whatever keeps knowledge bases."""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import trio

from innkeeper.storage.knowledge_model import Change, Draft, Entry, Filters, Found, Head, Place, Query

if TYPE_CHECKING:
    from innkeeper.bridge.background import Background
    from innkeeper.plugins.host import Host
    from innkeeper.plugins.runs import RunBase
    from innkeeper.storage.database import Database


class KnowledgeBases(Protocol):
    """Entries of knowledge bases. Who may see or change which base is decided before any of this is called.

    All methods raise `storage.knowledge_model.NoSuchError` where there is no such base or entry, `VersionError` where
    an entry has another version than was expected, `FullError` where something does not fit, `HeldError` where the
    operator wants to see a change first, `AwayError` where a model or a file is not to be had, ValueError where an
    argument is out of bounds or an entry would not be valid, and BusyError. Those with a `Place` are about its
    session's overlay where it names one.
    """

    async def search(self, place: Place, query: Query, *, filters: Filters) -> Found:
        """The entries that answer a query best."""
        ...

    async def get(self, place: Place, id: str) -> Entry:
        """A whole entry."""
        ...

    async def list(
        self, place: Place, *, after: str, limit: int, filters: Filters, ids: Sequence[str] | None = None
    ) -> builtins.list[Entry]:
        """Entries in the order of their ids' bytes; long ones make a page shorter, and the last page is an empty one.

        Args:
            place: the base.
            after: the last id of the page before, or "".
            limit: how many at most, 1 to `MOST_LISTED`.
            filters: which ones.
            ids: only these of them that are there; None: all.
        """
        ...

    async def info(self, place: Place) -> Mapping[str, Any]:
        """What a base says of itself, and how it is: plain data."""
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
        """
        ...

    async def delete(self, place: Place, id: str, *, author: str = "", expect: int | None = None) -> None:
        """Deletes an entry.

        Args:
            place: the base.
            id: of the entry.
            author: id of the plugin that deletes it, or "".
            expect: the version that it must have, or None.
        """
        ...

    async def undo(self, place: Place, id: str, *, author: str, expect: int | None = None) -> Head | None:
        """Takes the last change of an entry back, if the same author made it; None where it is gone by that.

        Raises:
            ValueError: somebody else made the last change.
        """
        ...

    async def history(self, place: Place, id: str, *, before: int, limit: int) -> builtins.list[Change]:
        """Changes of an entry, the newest first.

        Args:
            place: the base.
            id: of the entry.
            before: only those with a lower number; 0: from the newest on.
            limit: how many at most, 1 to `MOST_LISTED`.
        """
        ...

    async def activate(self, owner: str, bases: Sequence[str], request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Which entries a conversation calls for.

        Args:
            owner: whose bases they are.
            bases: their ids.
            request: the arguments of `kb.activate` but `bases`, checked, and `seconds`: how long others may be asked.

        Returns:
            as `kb.activate`.
        """
        ...

    async def assemble(
        self, owner: str, request: Mapping[str, Any], allowed: Callable[[str], bool]
    ) -> Mapping[str, Any]:
        """Makes messages of blocks.

        Args:
            owner: whose bases may be named.
            request: the arguments of `kb.assemble`, checked.
            allowed: whether a base may be read by whoever asks: nothing of another one is shown.

        Returns:
            as `kb.assemble`.
        """
        ...

    async def render(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Carries out the macros of a text.

        Args:
            request: the arguments of `kb.render`, checked.

        Returns:
            as `kb.render`.
        """
        ...

    async def embed(self, place: Place, texts: Sequence[str]) -> Mapping[str, Any]:
        """Vectors of texts, by the model of a base.

        Returns:
            as `kb.embed`.
        """
        ...

    async def project(self, owner: str, folder: Path) -> Mapping[str, RunBase]:
        """What the references of a project stand for; its own bases are taken up.

        Raises:
            UsageError: project.json or a base has mistakes, or cannot be read.
        """
        ...

    async def serve(self) -> None:
        """What goes on while no guest asks, until it is cancelled."""
        ...

    async def aclose(self) -> None:
        """Writes what is not written yet; the database is open still. Nobody asks any more."""
        ...


@dataclass(frozen=True, slots=True)
class KnowledgeNeeds:
    """What knowledge bases are made with.

    Attributes:
        host: the host that they belong to; raises UsageError before it is up and once it closes.
        database: opens where they are kept; raises as `storage.database.open_database`.
        background: for what goes on while nobody asks.
    """

    host: Callable[[], Host]
    database: Callable[[], Awaitable[Database]]
    background: Background


KnowledgeMaker = Callable[[KnowledgeNeeds], Awaitable[KnowledgeBases]]
"""Makes what keeps the knowledge bases of a host, when it is first needed."""


class LazyKnowledge:
    """Makes it at the first need, once."""

    def __init__(self, make: Callable[[], Awaitable[KnowledgeBases]]) -> None:
        self._make = make
        self._lock = trio.Lock()
        self._made: KnowledgeBases | None = None
        self._there = trio.Event()

    async def __call__(self) -> KnowledgeBases:
        if self._made is None:
            async with self._lock:
                if self._made is None:
                    self._made = await self._make()
                    self._there.set()
        return self._made

    async def serve(self) -> None:
        """As `KnowledgeBases.serve`, from when it is made on."""
        await self._there.wait()
        await (await self()).serve()

    async def aclose(self) -> None:
        """Closes it, if it was made."""
        if self._made is not None:
            await self._made.aclose()
