"""The library: opens knowledge bases, keeps them in memory, changes them, and keeps them in step with their files.

Reads are answered from memory and wait for nobody. A change is in the database before it is answered, and in memory,
so that the next read has it. What another process changed is there a fraction of a second later.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import trio
from sqlalchemy import Connection

from innkeeper.errors import BusyError, UsageError
from innkeeper.knowledge.live.base import GapError, LiveBase
from innkeeper.knowledge.live.freshness import Freshness
from innkeeper.knowledge.live.index import IndexMaker, LiveIndex
from innkeeper.knowledge.store import binding, embedding, reading, undoing, verifying
from innkeeper.knowledge.store.legs import Legs
from innkeeper.knowledge.store.limits import StoreQuota
from innkeeper.knowledge.store.overlays import Sessions
from innkeeper.knowledge.store.proposals import Proposals
from innkeeper.knowledge.store.store import KnowledgeStore
from innkeeper.knowledge.store.sync import BaseFiles, FileSync, notes_of
from innkeeper.knowledge.store.values import Applied, BaseState, Change, Origin, Report
from innkeeper.knowledge.store.writing import where_of
from innkeeper.storage.database import Database
from innkeeper.storage.knowledge_model import NoSuchError, Place, VersionError

logger = logging.getLogger("innkeeper.knowledge")

FRESH: Final = 0.2
"""Seconds for which nobody looks whether another process changed something."""

FILES_EVERY: Final = 1.0
"""Seconds for which nobody looks at a base's file; and after a change, until it is written to the file."""

MEMORY: Final = 512 << 20
"""Bytes of bases in memory; those that nobody asked for longest go first."""


class _Slot:
    """A base's place in the library."""

    def __init__(self) -> None:
        # Held by whoever opens it or brings it up to date.
        self.lock = trio.Lock()
        self.live: LiveBase | None = None
        self.building: dict[str, trio.Lock] = {}
        self.looked = -1e9
        self.stamp: object = None
        self.file_looked = -1e9
        self.problem = ""


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
        self._makers = dict(indexes or {})
        self._sync = None if files is None else FileSync(self.store, files)
        self._memory = memory
        self._freshness = Freshness(db.path)
        self._slots: OrderedDict[Place, _Slot] = OrderedDict()
        self._dirty: dict[Place, float] = {}
        self._wake = trio.Event()

    async def base(self, place: Place) -> LiveBase:
        """A base, as of now for what this process wrote, and as of `FRESH` seconds ago for what others did.

        What was wrong with its file is in `notes`; a file that cannot be read keeps no base from being opened.
        """
        slot = self._slot(place)
        if slot.live is None:
            async with slot.lock:
                if slot.live is None:
                    await self._open(place, slot)
        else:
            await self._look_at_file(place, slot)
            if trio.current_time() - slot.looked >= FRESH:
                await self._look(place, slot)
        live = slot.live
        if live is None:
            raise NoSuchError(f"there is no knowledge base {place.base!r}")
        return live

    async def index(self, place: Place, name: str) -> LiveIndex:
        """What search or activation keeps of a base, made if nobody asked before; as new as `base`.

        Args:
            name: of one of `indexes`.
        """
        live = await self.base(place)
        found = live.indexes.get(name)
        if found is not None:
            return found
        slot = self._slot(place)
        async with slot.building.setdefault(name, trio.Lock()):
            live = await self.base(place)
            if name not in live.indexes:
                # Changes wait until it is there, reads do not.
                async with slot.lock:
                    await self._build(place, live, name)
                await self._refresh(place, slot)
                self._forget_some(place)
        return live.indexes[name]

    def notes(self, place: Place) -> list[str]:
        """What whoever asks for the base should be told beside the answer, as sentences."""
        slot = self._slots.get(place)
        if slot is None or slot.live is None:
            return []
        return [*notes_of(slot.live.state), *([slot.problem] if slot.problem else [])]

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

    async def undo(self, place: Place, id: str | None = None, *, revision: int | None = None) -> Applied:
        """Takes back the last change of an entry, or the last step, or the step that led to a revision.

        Raises:
            NoSuchError: nothing is remembered of it.
            VersionError: somebody changed it since.
        """
        if id is None:
            applied = await undoing.undo_step(self.store, place, revision)
        else:
            applied = await undoing.undo_entry(self.store, place, id)
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

    async def create(self, place: Place, info: Mapping[str, Any], *, file: str = "") -> BaseState:
        """Makes an empty base, or leaves alone the one that is there; binds it to a file if one is named."""
        state = await self.store.create(place, info)
        if file and state.file != file:
            await binding.bind(self.store, place, file)
            self._slot(place).file_looked = -1e9
        return await self.store.state(place)

    async def verify(self, place: Place) -> Report:
        """Do text, keywords, full text and vectors agree? See `verifying.verify`."""
        await self.store.clean(place)
        await verifying.remake(self.store, place)
        return await verifying.verify(self.store, place)

    async def serve(self) -> None:
        """Writes changes to files while the host runs, until it is cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._dirty:
                await trio.sleep(FILES_EVERY / 4)
                ready = [place for place, since in self._dirty.items() if trio.current_time() - since >= FILES_EVERY]
                for place in ready:
                    del self._dirty[place]
                    await self._step_file(place, self._slot(place))

    async def aclose(self) -> None:
        """Writes to files what is not written yet. Nobody asks any more."""
        while self._dirty:
            place, _ = self._dirty.popitem()
            await self._step_file(place, self._slot(place))
        self._slots.clear()

    def _slot(self, place: Place) -> _Slot:
        slot = self._slots.get(place)
        if slot is None:
            slot = self._slots[place] = _Slot()
        self._slots.move_to_end(place)
        return slot

    async def _open(self, place: Place, slot: _Slot) -> None:
        where = where_of(place)
        try:
            await self.store.clean(place)
            await verifying.remake(self.store, place)
            slot.file_looked = trio.current_time()
            await self._step_file(place, slot)
            slot.looked, slot.stamp = trio.current_time(), self._freshness.stamp()

            def read(connection: Connection) -> LiveBase:
                state = reading.read_state(connection, place, where, whole=True)
                return LiveBase(place, state, reading.stream(connection, where, full=False))

            slot.live = await self.store.whole(place, read)
        except NoSuchError:
            # Nobody fills the library by asking for what is not there.
            if self._slots.get(place) is slot:
                del self._slots[place]
            raise
        self._forget_some(place)

    async def _build(self, place: Place, live: LiveBase, name: str) -> None:
        where = where_of(place)
        made = self._makers[name]()

        def read(connection: Connection) -> None:
            # As of the revision that is in memory, or a later one: then what is applied next is applied again.
            state = reading.read_state(connection, place, where, whole=True)
            made.build(state, reading.stream(connection, where, model=state.model, full=True))

        await self.store.whole(place, read)
        live.indexes[name] = made

    async def _look(self, place: Place, slot: _Slot) -> None:
        slot.looked = trio.current_time()
        stamp = self._freshness.stamp()
        if stamp is not None and stamp == slot.stamp:
            return
        # Where somebody else brings it up to date, what is there now is the answer.
        try:
            slot.lock.acquire_nowait()
        except trio.WouldBlock:
            return
        try:
            await self._bring_up(place, slot)
        finally:
            slot.lock.release()
        slot.stamp = stamp

    async def _changed(self, place: Place) -> None:
        slot = self._slot(place)
        if self._sync is not None:
            self._dirty.setdefault(place, trio.current_time())
            self._wake.set()
        await self._refresh(place, slot)

    async def _refresh(self, place: Place, slot: _Slot) -> None:
        if slot.live is not None:
            async with slot.lock:
                await self._bring_up(place, slot)

    async def _bring_up(self, place: Place, slot: _Slot) -> None:
        live = slot.live
        if live is None:
            return
        where = where_of(place)
        known, state = live.revision, live.state
        full = bool(live.indexes)

        def read(connection: Connection) -> reading.Delta:
            return reading.read_delta(connection, place, where, known, full=full)

        try:
            delta = await self.store.whole(place, read)
            now = delta.state
            await live.apply(delta)
        except (GapError, NoSuchError) as error:
            # Erased, or erased and made again: whoever asks next opens it.
            slot.live = None
            if isinstance(error, NoSuchError):
                self._slots.pop(place, None)
                raise
            await self._open(place, slot)
            return
        if (now.model, now.embedded, now.legs) != (state.model, state.embedded, state.legs):
            for name in list(live.indexes):
                await self._build(place, live, name)
        elif delta.entries or delta.deleted:
            written = {entry.id for entry in delta.entries}
            deleted = [id for id in delta.deleted if id not in written]
            for index in live.indexes.values():
                await trio.to_thread.run_sync(index.apply, now, delta.entries, deleted)
        self._forget_some(place)

    async def _look_at_file(self, place: Place, slot: _Slot) -> None:
        live = slot.live
        if self._sync is None or live is None or not live.state.file:
            return
        if trio.current_time() - slot.file_looked >= FILES_EVERY:
            slot.file_looked = trio.current_time()
            self._dirty.pop(place, None)
            if await self._step_file(place, slot):
                await self._refresh(place, slot)

    async def _step_file(self, place: Place, slot: _Slot) -> bool:
        """Brings base and file in step; what keeps it from that is noted, and tried again later."""
        if self._sync is None:
            return False
        try:
            changed = await self._sync.step(place)
            slot.problem = ""
            return changed
        except NoSuchError:
            return False
        except (BusyError, UsageError, ValueError, VersionError) as error:
            slot.problem = f"knowledge base {place.base!r} is not in step with its file: {error}"
            logger.warning("%s", slot.problem)
            return False

    def _forget_some(self, but: Place) -> None:
        total = sum(slot.live.cost for slot in self._slots.values() if slot.live is not None)
        for place in list(self._slots):
            if total <= self._memory:
                return
            slot = self._slots[place]
            if place != but and slot.live is not None and not slot.lock.locked():
                total -= slot.live.cost
                del self._slots[place]
