"""The inverted index: which slots have a term, how much it counts there, and in which fields.

A `Segment` never changes. What is new lies in `Fresh` until there is enough of it for a segment.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from innkeeper.knowledge.text.blob import FIELDS, ManyTerms, Terms

WEIGHTS: Final = (3.0, 3.0, 1.0)
"""How often a term counts that is there once, by field: name and keywords are what its author says it is about."""

_BITS = np.array([1 << at for at in range(len(FIELDS))], np.uint8)
_WEIGHTS = np.array(WEIGHTS, np.float32)

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Postings:
    """The slots that have a term.

    Attributes:
        slots: ascending; shape (n,).
        weights: how much the term counts in each; shape (n,).
        fields: bits of `FIELDS` in which each has it; shape (n,).
    """

    slots: Ints
    weights: Floats
    fields: Bytes


def weights_of(counts: Bytes) -> tuple[Floats, Bytes]:
    """How much each term of an entry counts, and the bits of the fields that have it; shapes (n,).

    Args:
        counts: how often it is in each field; shape (3, n).
    """
    return _WEIGHTS @ counts.astype(np.float32), (_BITS[:, None] * (counts > 0)).sum(axis=0, dtype=np.uint8)


class Segment:
    """Postings in one piece, which never change.

    Attributes:
        size: postings.
    """

    def __init__(self, ids: NDArray[np.uint64], slots: Ints, weights: Floats, fields: Bytes) -> None:
        """Args:
        ids: the term of each posting, in any order; shape (n,).
        slots, weights, fields: as of `Postings`, of each; ascending slots for each term.
        """
        order = np.argsort(ids, kind="stable")
        ids = ids[order]
        first = np.ones(len(ids), np.bool_)
        first[1:] = ids[1:] != ids[:-1]
        starts = np.flatnonzero(first)
        self._ids = ids[starts]
        self._starts = np.append(starts, len(ids))
        self._slots, self._weights, self._fields = slots[order], weights[order], fields[order]
        self.size = len(ids)

    def of(self, term: int) -> Postings | None:
        """The postings of a term, by its id, or None."""
        at = int(np.searchsorted(self._ids, np.uint64(term)))
        if at == len(self._ids) or int(self._ids[at]) != term:
            return None
        part = slice(self._starts[at], self._starts[at + 1])
        return Postings(self._slots[part], self._weights[part], self._fields[part])

    def flat(self) -> tuple[NDArray[np.uint64], Ints, Floats, Bytes]:
        """What it was made of, by term."""
        ids = np.repeat(self._ids, np.diff(self._starts))
        return ids, self._slots, self._weights, self._fields


def segment_of(entries: Sequence[tuple[int, Terms]]) -> Segment:
    """A segment of some entries.

    Args:
        entries: slot and terms of each, slots ascending.
    """
    if not entries:
        return Segment(np.zeros(0, np.uint64), np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.uint8))
    counts = np.concatenate([terms.counts for _, terms in entries], axis=1)
    sizes = [len(terms.ids) for _, terms in entries]
    slots = np.repeat(np.array([slot for slot, _ in entries], np.int32), sizes)
    weights, fields = weights_of(counts)
    return Segment(np.concatenate([terms.ids for _, terms in entries]), slots, weights, fields)


class Gathering:
    """Postings of entries that come a few at a time, until all of them are there."""

    def __init__(self) -> None:
        self._pieces: list[tuple[NDArray[np.uint64], Ints, Floats, Bytes]] = []

    def add(self, slots: NDArray[np.int64], terms: ManyTerms) -> None:
        """Adds entries; their slots are larger than any before, and ascend."""
        weights, fields = weights_of(terms.counts)
        self._pieces.append((terms.ids, np.repeat(slots.astype(np.int32), terms.sizes), weights, fields))

    def segment(self) -> Segment:
        """All of them in one piece. They are given away."""
        pieces, self._pieces = self._pieces, []
        if not pieces:
            return segment_of(())
        ids, slots, weights, fields = (np.concatenate(each) for each in zip(*pieces, strict=True))
        del pieces
        return Segment(ids, slots, weights, fields)


def merged(segments: Sequence[Segment], places: Ints) -> Segment:
    """One segment of several.

    Args:
        segments: the slots of a later one are larger.
        places: the new slot of each old one, in the same order, or -1 where there is none any more.
    """
    flats = [segment.flat() for segment in segments]
    ids, slots, weights, fields = (np.concatenate(each) for each in zip(*flats, strict=True))
    slots = places[slots]
    kept = slots >= 0
    if not kept.all():
        ids, slots, weights, fields = ids[kept], slots[kept], weights[kept], fields[kept]
    return Segment(ids, slots, weights, fields)


class Fresh:
    """Postings of the newest entries. One thread at a time.

    Attributes:
        entries: how many there are.
    """

    def __init__(self) -> None:
        self.entries = 0
        self._lists: dict[int, tuple[array[int], array[float], array[int]]] = {}

    def add(self, slot: int, terms: Terms) -> None:
        """Adds an entry; its slot is larger than any before it."""
        weights, fields = weights_of(terms.counts)
        for term, weight, bits in zip(terms.ids.tolist(), weights.tolist(), fields.tolist(), strict=True):
            lists = self._lists.get(term)
            if lists is None:
                lists = self._lists[term] = (array("i"), array("f"), array("B"))
            lists[0].append(slot)
            lists[1].append(weight)
            lists[2].append(bits)
        self.entries += 1

    def of(self, term: int) -> Postings | None:
        """The postings of a term, by its id, as they are now, or None."""
        lists = self._lists.get(term)
        if lists is None:
            return None
        return Postings(np.array(lists[0], np.int32), np.array(lists[1], np.float32), np.array(lists[2], np.uint8))

    def segment(self) -> Segment:
        """A segment of them."""
        lists = list(self._lists.values())
        ids = np.repeat(np.fromiter(self._lists, np.uint64, len(lists)), [len(each[0]) for each in lists])
        slots = np.fromiter(chain.from_iterable(each[0] for each in lists), np.int32, len(ids))
        weights = np.fromiter(chain.from_iterable(each[1] for each in lists), np.float32, len(ids))
        fields = np.fromiter(chain.from_iterable(each[2] for each in lists), np.uint8, len(ids))
        return Segment(ids, slots, weights, fields)
