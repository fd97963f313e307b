"""One base in memory: its entries by id and in their orders.

An entry lies here as a tuple of texts and numbers, and its document as JSON: of what holds nothing else there may be
hundreds of thousands without the interpreter's garbage collector looking at them, which stops all threads.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

import trio

from innkeeper.knowledge.live.index import LiveIndex
from innkeeper.knowledge.live.ordering import in_order
from innkeeper.knowledge.model.base import Item
from innkeeper.knowledge.store.reading import Delta
from innkeeper.knowledge.store.values import BaseState, Stored
from innkeeper.storage.knowledge_model import Place

_Row = tuple[str, float, int, bool, str, str, float, float, str]
_Made = tuple[dict[str, _Row], list[str], list[str], int]

SMALL: Final = 128
"""Changes that are made in place on trio's thread, in a fraction of a millisecond. More go into a copy, in a thread."""

_MOVED: Final = 500_000
"""Changes of the order, times entries, up to which the same is true: each moves a part of a list."""

_ITEMS: Final = 256
"""Entries that are kept as objects after somebody asked for them."""

_COST: Final = 400
"""Bytes that an entry takes beside its document."""


class LiveBase:
    """A base as of its newest revision that this process has seen. Read it on trio's thread.

    Attributes:
        place: which base.
        state: what is known of it.
        indexes: by name; those that somebody asked for. The library fills it.
    """

    def __init__(self, place: Place, state: BaseState, entries: Iterable[Stored]) -> None:
        """Args:
        place: which base.
        state: of it.
        entries: all of them, in any order.
        """
        self.place = place
        self.state = state
        self.indexes: dict[str, LiveIndex] = {}
        self._rows, self._order, self._by_id, self._text = _made({entry.id: _row(entry) for entry in entries})
        self._items: OrderedDict[str, Item] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, id: object) -> bool:
        return id in self._rows

    @property
    def revision(self) -> int:
        """Of the base (int)."""
        return self.state.revision

    @property
    def cost(self) -> int:
        """Bytes that it takes with its indexes, roughly (int)."""
        return self._text + _COST * len(self._rows) + sum(index.cost for index in self.indexes.values())

    def get(self, id: str) -> Stored | None:
        """An entry without terms and vector, or None."""
        row = self._rows.get(id)
        return None if row is None else Stored(id, *row)

    def version(self, id: str) -> int:
        """The version of an entry (int), 0 where there is none."""
        row = self._rows.get(id)
        return 0 if row is None else row[2]

    def item(self, id: str) -> Item | None:
        """An entry with its document, or None. The last ones are kept; parsing one takes some 50 microseconds.

        Raises:
            KnowledgeError: it was written by a newer version.
        """
        found = self._items.get(id)
        if found is None:
            stored = self.get(id)
            if stored is None:
                return None
            found = self._items[id] = Item(stored.plain(), stored.entry())
            if len(self._items) > _ITEMS:
                self._items.popitem(last=False)
        self._items.move_to_end(id)
        return found

    def ids_after(self, id: str) -> Sequence[str]:
        """All ids that come after one, in the order of their bytes in UTF-8."""
        ids = self._by_id
        return ids[bisect_right(ids, id) :]

    def order(self) -> Sequence[str]:
        """All ids in the order of the file. The list stays as it is, whatever changes meanwhile."""
        return self._order

    async def apply(self, delta: Delta) -> None:
        """Follows what became of the base. Others see all of it or nothing.

        Raises:
            GapError: what is told does not lead to what the base counts: it is to be read whole.
        """
        if delta.state.created != self.state.created or delta.state.revision < self.state.revision:
            # Erased and made again under the same name.
            raise GapError
        gone = [id for id in delta.deleted if id in self._rows]
        written = {entry.id for entry in delta.entries}
        gone = [id for id in gone if id not in written]
        count = len(self._rows) - len(gone) + sum(id not in self._rows for id in written)
        if count != delta.state.entries:
            raise GapError
        moved = [entry.id for entry in delta.entries if self._moves(entry)]
        touched = len(gone) + len(delta.entries)
        if touched > SMALL or (len(gone) + len(moved)) * len(self._rows) > _MOVED:
            made = await trio.to_thread.run_sync(self._replaced, delta, gone)
        else:
            made = self._changed(delta, gone, moved)
        self._rows, self._order, self._by_id, self._text = made
        self.state = delta.state
        for id in (*gone, *written):
            self._items.pop(id, None)

    def _moves(self, entry: Stored) -> bool:
        old = self._rows.get(entry.id)
        return old is None or old[1] != entry.position

    def _changed(self, delta: Delta, gone: Sequence[str], moved: Sequence[str]) -> _Made:
        rows, order, ids, text = self._rows, self._order, self._by_id, self._text
        if gone or moved:
            order, ids = list(order), list(ids)

        def place(id: str) -> tuple[float, str]:
            return rows[id][1], id

        for id in (*gone, *moved):
            if id in rows:
                del order[bisect_left(order, place(id), key=place)]
                del ids[bisect_left(ids, id)]
        for id in gone:
            text -= len(rows.pop(id)[0])
        for entry in delta.entries:
            old = rows.get(entry.id)
            text += len(entry.document) - (0 if old is None else len(old[0]))
            rows[entry.id] = _row(entry)
        for id in moved:
            insort(order, id, key=place)
            insort(ids, id)
        return rows, order, ids, text

    def _replaced(self, delta: Delta, gone: Sequence[str]) -> _Made:
        rows = dict(self._rows)
        for id in gone:
            del rows[id]
        for entry in delta.entries:
            rows[entry.id] = _row(entry)
        return _made(rows)


class GapError(Exception):
    """A base cannot be followed from what is known of it."""


def _row(entry: Stored) -> _Row:
    return (
        entry.document,
        entry.position,
        entry.version,
        entry.enabled,
        entry.source,
        entry.author,
        entry.created,
        entry.updated,
        entry.digest,
    )


def _made(rows: dict[str, _Row]) -> _Made:
    # Surrogates come before what is above them in UTF-8 too: the order of code points is that of the bytes.
    ids = in_order(list(rows), str)
    order = in_order(ids, lambda id: rows[id][1])
    return rows, order, ids, sum(len(row[0]) for row in rows.values())
