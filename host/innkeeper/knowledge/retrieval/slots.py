"""Where an entry's data lies in the arrays of an index: its slot, and what filters ask about it.

Another version of an entry gets another slot; slots are never used again until everything is packed anew.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from innkeeper.knowledge.retrieval.interface import Filters, Indexed

Mask = NDArray[np.bool_]

_Row = tuple[str, str, str, tuple[str, ...], bool, float, bool]

_COLUMNS: Final[dict[str, type]] = {
    "alive": np.bool_,
    "enabled": np.bool_,
    "semantic": np.bool_,
    "lengths": np.float32,
    "priorities": np.float64,
    "_type_of": np.int32,
    "_source_of": np.int32,
}


def room_for(entries: int) -> int:
    """Slots that are allocated for so many entries (int). Memory that nobody wrote to costs nothing."""
    return entries + entries // 4 + 4096


class Slots:
    """The entries of an index by slot. Written by one thread at a time; others may read meanwhile.

    Attributes:
        count: slots in use, those of removed entries included.
        living: entries.
        length: of all living entries in terms.
    """

    def __init__(self, room: int) -> None:
        """Args:
        room: slots that are allocated at once; more make a longer pause.
        """
        self.count = 0
        self.living = 0
        self.length = 0
        self.ids: list[str] = []
        self.of: dict[str, int] = {}
        self._tags: dict[str, array[int]] = {}
        self._types: dict[str, int] = {}
        self._sources: dict[str, int] = {}
        # Tuples of what holds nothing else: the interpreter's garbage collector, which stops all threads, does not look
        # at them.
        self._entries: list[_Row] = []
        self.alive: Mask
        self.enabled: Mask
        self.semantic: Mask
        self.lengths: NDArray[np.float32]
        self.priorities: NDArray[np.float64]
        self._type_of: NDArray[np.int32]
        self._source_of: NDArray[np.int32]
        self._allocate(room)

    def _allocate(self, room: int) -> None:
        count = self.count
        for name, kind in _COLUMNS.items():
            column: NDArray[Any] = np.zeros(room, kind)
            if count:
                column[:count] = getattr(self, name)[:count]
            # A new array: who reads the old one meanwhile sees what was there.
            setattr(self, name, column)

    @property
    def room(self) -> int:
        """Slots that are allocated."""
        return len(self.alive)

    def add(self, entry: Indexed, length: int) -> int:
        """Gives an entry a slot, and takes the one away that it had. Returns the slot.

        Args:
            entry: what filters ask about.
            length: of its text in terms.
        """
        self.remove(entry.id)
        if self.count == self.room:
            self._allocate(2 * self.room)
        slot = self.count
        self.enabled[slot] = entry.enabled
        self.semantic[slot] = entry.semantic
        self.lengths[slot] = length
        self.priorities[slot] = entry.priority
        self._type_of[slot] = self._types.setdefault(entry.entry_type, len(self._types))
        self._source_of[slot] = self._sources.setdefault(entry.source, len(self._sources))
        for tag in dict.fromkeys(entry.tags):
            self._tags.setdefault(tag, array("i")).append(slot)
        self.ids.append(entry.id)
        self._entries.append(_row(entry))
        self.of[entry.id] = slot
        self.living += 1
        self.length += length
        self.alive[slot] = True
        # Last: who reads meanwhile sees a whole slot or none.
        self.count += 1
        return slot

    def add_many(self, entries: Sequence[Indexed], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """As `add`, of many at once; for a time in which nobody reads. Returns their slots; shape (entries,).

        Args:
            entries: what filters ask about.
            lengths: of their texts in terms; shape (entries,).
        """
        ids = [entry.id for entry in entries]
        if len(set(ids)) < len(ids) or not self.of.keys().isdisjoint(ids):
            added = zip(entries, lengths.tolist(), strict=True)
            return np.array([self.add(entry, length) for entry, length in added], np.int64)
        first, number = self.count, len(entries)
        while first + number > self.room:
            self._allocate(2 * self.room)
        part = slice(first, first + number)
        self.enabled[part] = [entry.enabled for entry in entries]
        self.semantic[part] = [entry.semantic for entry in entries]
        self.lengths[part] = lengths
        self.priorities[part] = [entry.priority for entry in entries]
        self._type_of[part] = [self._types.setdefault(entry.entry_type, len(self._types)) for entry in entries]
        self._source_of[part] = [self._sources.setdefault(entry.source, len(self._sources)) for entry in entries]
        for slot, entry in enumerate(entries, first):
            for tag in dict.fromkeys(entry.tags):
                self._tags.setdefault(tag, array("i")).append(slot)
        self.ids += ids
        self._entries += map(_row, entries)
        self.of.update(zip(ids, range(first, first + number), strict=True))
        self.living += number
        self.length += int(lengths.sum())
        self.alive[part] = True
        self.count += number
        return np.arange(first, first + number)

    def remove(self, id: str) -> int | None:
        """Takes an entry's slot away; returns it, or None where the entry has none."""
        slot = self.of.pop(id, None)
        if slot is not None:
            self.alive[slot] = False
            self.living -= 1
            self.length -= int(self.lengths[slot])
        return slot

    def entry(self, slot: int) -> Indexed:
        """The entry of a slot, without terms and vector."""
        id, entry_type, source, tags, enabled, priority, semantic = self._entries[slot]
        return Indexed(id, b"", None, entry_type, source, tags, enabled, priority, semantic)

    def mask(self, filters: Filters, count: int) -> Mask:
        """Which of the first `count` slots a search may find; shape (count,)."""
        found = self.alive[:count].copy()
        if filters.enabled is not None:
            found &= self.enabled[:count] == filters.enabled
        if filters.types:
            found &= _among(self._type_of[:count], self._types, filters.types)
        if filters.sources:
            found &= _among(self._source_of[:count], self._sources, filters.sources)
        for tag in filters.tags:
            found &= self._tagged([tag], count)
        if filters.scope:
            found &= self._tagged(filters.scope, count)
        return found

    def _tagged(self, tags: Sequence[str], count: int) -> Mask:
        found = np.zeros(count, np.bool_)
        for tag in tags:
            slots = np.array(self._tags.get(tag, ()), np.int64)
            found[slots[slots < count]] = True
        return found


def _row(entry: Indexed) -> _Row:
    """What of an entry lies in no array."""
    return (
        entry.id,
        entry.entry_type,
        entry.source,
        tuple(entry.tags),
        entry.enabled,
        entry.priority,
        entry.semantic,
    )


def _among(codes: NDArray[np.int32], known: dict[str, int], wanted: Sequence[str]) -> Mask:
    numbers = [known[each] for each in wanted if each in known]
    return np.isin(codes, np.array(numbers, np.int32))
