"""Everything that is indexed of a base: slots, postings and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from innkeeper.knowledge.retrieval.interface import Filters, Indexed
from innkeeper.knowledge.retrieval.nearest import Nearest
from innkeeper.knowledge.retrieval.postings import Fresh, Postings, Segment, merged
from innkeeper.knowledge.retrieval.slots import Mask, Slots, room_for
from innkeeper.knowledge.retrieval.vectors import Vectors
from innkeeper.knowledge.text.blob import Terms
from innkeeper.knowledge.text.terms import term_id


@dataclass(frozen=True, slots=True)
class View:
    """What one search looks at. It does not change while others write, but for entries that are removed meanwhile.

    Attributes:
        places: the terms of the query with their postings.
        allowed: slots that may be found; shape (slots,).
        alive: slots that have an entry; shape (slots,).
        semantic: slots of entries that likeness of meaning can activate; shape (slots,).
        lengths, priorities: of the entries; shape (slots,).
        ids: of the entries, by slot; may be longer.
        living: how many entries there are.
        length: of all of them in terms.
        vectors: of the base, or None where it has none.
        nearest: index of these, or None where there is none.
    """

    places: Sequence[tuple[str, Sequence[Postings]]]
    allowed: Mask
    alive: Mask
    semantic: Mask
    lengths: NDArray[np.float32]
    priorities: NDArray[np.float64]
    ids: Sequence[str]
    living: int
    length: int
    vectors: Vectors | None
    nearest: Nearest | None


class State:
    """What is indexed. One thread at a time.

    Attributes:
        slots: where each entry lies.
        parts: postings; the slots of a later part are larger. The last one is `fresh`, the others do not change.
        fresh: postings of the newest entries.
        vectors: of the entries, or None without a model.
        nearest: index of the older ones of these, or None.
        unusable: vectors that were left out: of another dimension, not finite, or zeros.
    """

    def __init__(self, dimension: int | None, room: int, exact: int | None = None) -> None:
        """Args:
        dimension: of the vectors; None: there are none.
        room: slots that are allocated at once.
        exact: numbers up to which every vector is looked at; None: as many as is quick.
        """
        self.slots = Slots(room)
        self.fresh = Fresh()
        self.parts: list[Segment | Fresh] = [self.fresh]
        self.vectors = None if dimension is None else Vectors(dimension, room, exact)
        self.nearest: Nearest | None = None
        self.unusable = 0

    @property
    def dead(self) -> int:
        """Slots of entries that were removed or have another version."""
        return self.slots.count - self.slots.living

    def put(self, entry: Indexed, terms: Terms) -> int:
        """Gives an entry its slot and keeps its vector; returns the slot, which has no postings yet."""
        slot = self.slots.add(entry, terms.length)
        if self.vectors is not None and entry.vector is not None:
            try:
                usable = self.vectors.put(slot, entry.vector)
            except ValueError:
                usable = False
            self.unusable += not usable
        return slot

    def put_many(self, entries: Sequence[Indexed], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """As `put`, of many at once; for a time in which nobody reads. Returns their slots."""
        slots = self.slots.add_many(entries, lengths)
        if self.vectors is not None:
            there = [at for at, entry in enumerate(entries) if entry.vector is not None]
            given = [vector for entry in entries if (vector := entry.vector) is not None]
            self.unusable += self.vectors.put_many(slots[there], given)
        return slots

    def freeze(self) -> None:
        """Lets nobody add to the newest entries' postings any more."""
        if self.fresh.entries:
            self.fresh = Fresh()
            self.parts = [*self.parts, self.fresh]

    def append(self, segment: Segment) -> None:
        """Takes the postings of entries whose slots are larger than all that have some."""
        self.freeze()
        self.parts = [*self.parts[:-1], segment, self.fresh]

    def view(self, terms: Sequence[str], filters: Filters) -> View:
        """What a search for some terms looks at."""
        slots, count = self.slots, self.slots.count
        places = []
        for term in terms:
            number = term_id(term)
            found = (each.of(number) for each in self.parts)
            places.append((term, [each for each in found if each is not None]))
        return View(
            places,
            slots.mask(filters, count),
            slots.alive[:count],
            slots.semantic[:count],
            slots.lengths[:count],
            slots.priorities[:count],
            slots.ids,
            slots.living,
            slots.length,
            self.vectors,
            self.nearest,
        )

    def snapshot(self) -> Snapshot:
        """All of it as it is now."""
        self.freeze()
        count = self.slots.count
        return Snapshot(
            count,
            np.flatnonzero(self.slots.alive[:count]),
            self.slots,
            self.slots.lengths[:count],
            tuple(self.parts[:-1]),
            self.vectors,
            self.nearest,
            self.unusable,
        )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state as it was, while others change it.

    Attributes:
        count: slots in use.
        kept: those with an entry, ascending.
        slots: where the entries lie; its entries by slot do not change.
        lengths: of the entries.
        parts: postings that do not change.
        vectors, nearest, unusable: of the state; rows of slots in use do not change.
    """

    count: int
    kept: NDArray[np.int64]
    slots: Slots
    lengths: NDArray[np.float32]
    parts: tuple[Segment | Fresh, ...]
    vectors: Vectors | None
    nearest: Nearest | None
    unusable: int

    def packed(self) -> State:
        """A state of the same entries without slots that are not used, with room for as many again."""
        kept = self.kept
        places = np.full(self.count, -1, np.int32)
        places[kept] = np.arange(len(kept), dtype=np.int32)
        old = self.vectors
        room = room_for(len(kept))
        made = State(None, room) if old is None else State(old.dimension, room, old.exact)
        made.unusable = self.unusable
        for slot in kept.tolist():
            made.slots.add(self.slots.entry(slot), int(self.lengths[slot]))
        if self.parts:
            made.append(merged([each.segment() if isinstance(each, Fresh) else each for each in self.parts], places))
        if self.vectors is not None and made.vectors is not None:
            rows, has = self.vectors.read(self.count)
            within = kept[kept < len(rows)]
            made.vectors.put_all(rows[within], has[within])
            if self.nearest is not None:
                made.nearest = self.nearest.moved(places, int(np.searchsorted(kept, self.nearest.upto)))
        return made
