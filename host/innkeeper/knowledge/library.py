"""The library: opens knowledge bases, keeps them in memory, changes them, and keeps them in step with their files.

Reads are answered from memory and wait for nobody. A change is in the database before it is answered, and in memory,
so that the next read has it. What another process changed is there a fraction of a second later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from innkeeper.knowledge.live.base import LiveBase
from innkeeper.knowledge.live.files import FileKeeper
from innkeeper.knowledge.live.index import IndexMaker, LiveIndex
from innkeeper.knowledge.live.shelf import Shelf
from innkeeper.knowledge.store import binding, embedding, undoing, verifying
from innkeeper.knowledge.store.legs import Legs
from innkeeper.knowledge.store.limits import StoreQuota
from innkeeper.knowledge.store.overlays import Sessions
from innkeeper.knowledge.store.proposals import Proposals
from innkeeper.knowledge.store.store import KnowledgeStore
from innkeeper.knowledge.store.sync import BaseFiles, FileSync, notes_of
from innkeeper.knowledge.store.values import Applied, BaseState, Change, Origin, Past, Report
from innkeeper.storage.database import Database
from innkeeper.storage.knowledge_model import Place

MEMORY: Final = 1 << 30
"""Bytes of bases in memory; those that nobody asked for longest go first."""


class Library:
    """The knowledge bases of a database.

    Made by whoever opens the database, used from one loop of trio, closed with `aclose` before the database is. All
    methods raise `NoSuchError` where there is no such base, ValueError for names that are none, and what `Database`
    raises.

    Attributes:
        store, sessions, proposals: what is below, for what needs no memory.
    """

    def __init__(
        self,
        db: Database,
        legs: Legs,
        *,
        indexes: Mapping[str, IndexMaker] | None = None,
        files: BaseFiles | None = None,
        quota: StoreQuota | None = None,
        memory: int = MEMORY,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Args:
        db: where they are kept.
        legs: makes what search needs of an entry.
        indexes: what search and activation keep in memory, by name; made at the first need.
        files: reads and writes files; None: bases are in step with none.
        quota: what an owner's bases may have.
        memory: bytes of bases in memory, roughly.
        now: seconds since 1970; called from any thread.
        """
        self.store = KnowledgeStore(db, legs, now=now, quota=quota)
        self.sessions = Sessions(self.store)
        self.proposals = Proposals(self.store)
        self._shelf = Shelf(self.store, indexes or {}, memory)
        self._files = None if files is None else FileKeeper(FileSync(self.store, files), self._shelf.refresh)

    async def base(self, place: Place) -> LiveBase:
        """A base, as of now for what this process wrote, and as of `shelf.FRESH` seconds ago for what others did.

        What was wrong with its file is in `notes`; a file that cannot be read keeps no base from being opened. While
        `serve` runs, a file that somebody edited is read in the background: a read of a base that is in memory waits
        for no file either.
        """
        files = self._files
        if files is not None and files.due(place):
            there = self._shelf.there(place)
            if there is not None and files.serving:
                if there.state.file:
                    files.ask(place)
            elif there is None or there.state.file:
                await files.look(place)
        return await self._shelf.base(place)

    async def index(self, place: Place, name: str) -> LiveIndex:
        """What search or activation keeps of a base, made if nobody asked before; as new as `base`.

        Args:
            name: of one of `indexes`.
        """
        await self.base(place)
        return await self._shelf.index(place, name)

    def indexes(self, name: str) -> list[LiveIndex]:
        """What is kept under a name of the bases that are in memory now."""
        return self._shelf.indexes(name)

    def notes(self, place: Place) -> list[str]:
        """What whoever asks for a base should be told beside the answer, as sentences."""
        live = self._shelf.there(place)
        found = [] if live is None else notes_of(live.state)
        if self._files is not None and place in self._files.problems:
            found.append(self._files.problems[place])
        return found

    async def change(
        self,
        place: Place,
        changes: Sequence[Change],
        origin: Origin,
        *,
        info: Mapping[str, Any] | None = None,
        at: int | None = None,
    ) -> Applied:
        """Takes one step; see `KnowledgeStore.change`. The next read has it."""
        applied = await self.store.change(place, changes, origin, info=info, at=at)
        await self._changed(place)
        return applied

    async def undo(
        self,
        place: Place,
        id: str | None = None,
        *,
        revision: int | None = None,
        author: str = "",
        last: Past | None = None,
    ) -> Applied:
        """Takes back the last change of an entry, or the last step, or the step that led to a revision.

        Args:
            author: id of the plugin that does, or "".
            last: of an entry, as the store's `history` gave it: nothing else than that is taken back; None: whatever
                was its last change.

        Raises:
            NoSuchError: nothing is remembered of it.
            VersionError: somebody changed it since.
        """
        if id is None:
            applied = await undoing.undo_step(self.store, place, revision, author=author)
        else:
            applied = await undoing.undo_entry(self.store, place, id, author=author, last=last)
        await self._changed(place)
        return applied

    async def accept(self, place: Place, number: int) -> Applied:
        """Does what a plugin proposed; see `Proposals.accept`."""
        applied = await self.proposals.accept(place, number)
        await self._changed(place)
        return applied

    async def embedded(self, place: Place, model: str | None = None) -> None:
        """Says that vectors were made (`embedding.keep`), and which model is the base's own from now on."""
        if model is None:
            await embedding.finished(self.store, place)
        else:
            await embedding.use_model(self.store, place, model)
        await self._changed(place)

    async def adopt_model(self, place: Place, model: str) -> None:
        """Searches a base with a model that it does not name itself; see `embedding.adopt_model`."""
        await embedding.adopt_model(self.store, place, model)
        await self._shelf.refresh(place)

    async def create(self, place: Place, info: Mapping[str, Any], *, file: str = "") -> BaseState:
        """Makes an empty base, or leaves alone the one that is there; binds it to a file if one is named."""
        state = await self.store.create(place, info)
        if file and state.file != file:
            await binding.bind(self.store, place, file)
            if self._files is not None:
                await self._files.look(place)
        return await self.store.state(place)

    async def first_look(self, place: Place) -> None:
        """Reads the file of a base that was bound to it and never in step with it."""
        if self._files is not None and place not in self._files.problems:
            await self._files.look(place)

    async def verify(self, place: Place) -> Report:
        """Do text, keywords, full text and vectors agree? See `verifying.verify`."""
        await self.store.clean(place)
        await verifying.remake(self.store, place)
        return await verifying.verify(self.store, place)

    async def serve(self) -> None:
        """Writes changes to files while the host runs, until it is cancelled."""
        if self._files is not None:
            await self._files.serve()

    async def flush(self) -> None:
        """Writes to files what is not written yet."""
        if self._files is not None:
            await self._files.flush()

    async def aclose(self) -> None:
        """Writes to files what is not written yet. Nobody asks any more."""
        await self.flush()
        self._shelf.clear()

    async def _changed(self, place: Place) -> None:
        if self._files is not None:
            self._files.changed(place)
        await self._shelf.refresh(place)
