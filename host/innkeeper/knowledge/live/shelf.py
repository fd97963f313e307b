"""The bases that are in memory: opened once, brought up to date, let go when there are too many."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

import trio
from sqlalchemy import Connection

from innkeeper.knowledge.live.base import GapError, LiveBase
from innkeeper.knowledge.live.freshness import Freshness
from innkeeper.knowledge.live.index import IndexMaker, LiveIndex
from innkeeper.knowledge.settling import settled
from innkeeper.knowledge.store import reading, verifying
from innkeeper.knowledge.store.store import KnowledgeStore
from innkeeper.knowledge.store.writing import where_of
from innkeeper.storage.knowledge_model import NoSuchError, Place

FRESH: Final = 0.2
"""Seconds for which nobody looks whether another process changed something."""


_TRIES: Final = 3
"""How often a base may have to be read whole while its index is made. One that must be each time has other entries
than it counts."""


class _Slot:
    """A base's place on the shelf."""

    def __init__(self) -> None:
        # Held by whoever opens it or brings it up to date.
        self.lock = trio.Lock()
        self.live: LiveBase | None = None
        self.building: dict[str, trio.Lock] = {}
        self.looked = 0.0
        self.stamp: object = None


class Shelf:
    """Bases in memory. All methods raise `NoSuchError` where there is no such base, and what `Database` raises."""

    def __init__(self, store: KnowledgeStore, indexes: Mapping[str, IndexMaker], memory: int) -> None:
        """Args:
        store: of the bases.
        indexes: what is kept of a base beside its entries, by name; made at the first need.
        memory: bytes of all, roughly; those that nobody asked for longest go first.
        """
        self._store = store
        self._makers = dict(indexes)
        self._memory = memory
        self._freshness = Freshness(store.db.path)
        self._slots: OrderedDict[Place, _Slot] = OrderedDict()

    def there(self, place: Place) -> LiveBase | None:
        """A base that is in memory, as it is there; None where it is not."""
        slot = self._slots.get(place)
        return None if slot is None else slot.live

    async def base(self, place: Place) -> LiveBase:
        """A base, as of `FRESH` seconds ago at the earliest. Waits for nobody who writes, once it is in memory."""
        slot = self._slot(place)
        if slot.live is None:
            async with slot.lock:
                if slot.live is None:
                    await self._open(place, slot)
        elif trio.current_time() - slot.looked >= FRESH:
            await self._look(place, slot)
        live = slot.live
        if live is None:
            raise NoSuchError(f"there is no knowledge base {place.base!r}")
        return live

    async def index(self, place: Place, name: str) -> LiveIndex:
        """What is kept of a base under a name, as new as `base`; made if nobody asked before."""
        live = await self.base(place)
        found = live.indexes.get(name)
        if found is not None:
            return found
        slot = self._slot(place)
        async with slot.building.setdefault(name, trio.Lock()):
            for _ in range(_TRIES):
                live = await self.base(place)
                if name not in live.indexes:
                    # Changes wait until it is there, reads do not.
                    async with slot.lock:
                        await self._build(live, name)
                        # What came since the revision in memory may be in it already: it is told again.
                        await self._bring_up(place, slot)
                found = (await self.base(place)).indexes.get(name)
                if found is not None:
                    return found
                # It had to be read whole meanwhile, and is without its index again.
        raise reading.damaged(place.base)

    def indexes(self, name: str) -> list[LiveIndex]:
        """What is kept under a name of the bases that are in memory."""
        lives = [slot.live for slot in self._slots.values() if slot.live is not None]
        return [index for live in lives if (index := live.indexes.get(name)) is not None]

    async def refresh(self, place: Place) -> None:
        """Brings a base that is in memory up to date: the next read has what is in the database now."""
        slot = self._slots.get(place)
        if slot is not None and slot.live is not None:
            async with slot.lock:
                await self._bring_up(place, slot)

    def clear(self) -> None:
        """Lets all of them go."""
        self._slots.clear()

    def _slot(self, place: Place) -> _Slot:
        slot = self._slots.get(place)
        if slot is None:
            slot = self._slots[place] = _Slot()
        self._slots.move_to_end(place)
        return slot

    async def _open(self, place: Place, slot: _Slot) -> None:
        where = where_of(place)

        def read(connection: Connection) -> LiveBase:
            state = reading.read_state(connection, place, where, whole=True)
            with settled(state.entries):
                return LiveBase(place, state, reading.stream(connection, where, full=False))

        try:
            await self._store.clean(place)
            await verifying.remake(self._store, place)
            slot.looked, slot.stamp = trio.current_time(), self._freshness.stamp()
            slot.live = await self._store.whole(place, read)
        finally:
            # Nobody fills the shelf by asking for what is not there.
            if slot.live is None and self._slots.get(place) is slot and not slot.lock.statistics().tasks_waiting:
                del self._slots[place]
        self._let_go(place)

    async def _build(self, live: LiveBase, name: str) -> None:
        place, where = live.place, where_of(live.place)
        made = self._makers[name]()

        def read(connection: Connection) -> None:
            state = reading.read_state(connection, place, where, whole=True)
            with settled(state.entries):
                made.build(state, reading.stream(connection, where, model=state.model, full=True))

        await self._store.whole(place, read)
        live.indexes[name] = made
        self._let_go(place)

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

    async def _bring_up(self, place: Place, slot: _Slot) -> None:
        live = slot.live
        if live is None:
            return
        where = where_of(place)
        known, full = live.state, bool(live.indexes)

        def read(connection: Connection) -> reading.Delta:
            return reading.read_delta(connection, place, where, known.revision, full=full)

        try:
            delta = await self._store.whole(place, read)
            await live.apply(delta)
        except NoSuchError:
            slot.live = None
            self._slots.pop(place, None)
            raise
        except GapError:
            # Erased and made again, or so much was forgotten that nobody can tell: it is read whole.
            slot.live = None
            await self._open(place, slot)
            return
        now = delta.state
        if (now.model, now.embedded, now.legs) != (known.model, known.embedded, known.legs):
            for name in list(live.indexes):
                await self._build(live, name)
        elif delta.entries or delta.deleted:
            written = {entry.id for entry in delta.entries}
            deleted = [id for id in delta.deleted if id not in written]
            for index in live.indexes.values():
                await trio.to_thread.run_sync(index.apply, now, delta.entries, deleted)
        self._let_go(place)

    def _let_go(self, but: Place) -> None:
        total = sum(slot.live.cost for slot in self._slots.values() if slot.live is not None)
        for place in list(self._slots):
            if total <= self._memory:
                return
            slot = self._slots[place]
            if place != but and slot.live is not None and not slot.lock.locked():
                total -= slot.live.cost
                del self._slots[place]
