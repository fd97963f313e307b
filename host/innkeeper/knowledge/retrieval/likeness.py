"""Likeness of meaning: the cosines of a query and a base's vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from innkeeper.knowledge.retrieval.nearest import Nearest
from innkeeper.knowledge.retrieval.slots import Mask
from innkeeper.knowledge.retrieval.vectors import Floats, Spread, Vectors, sample, spread_of

_MORE = 4
"""Times as many as are wanted, that an index is asked for: some are removed, disabled or not the nearest."""

_FEWEST = 128
_SPARSE = 8
"""Of a filtered base, rows are gathered one by one where at most one in so many is left."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """What was found by meaning.

    Attributes:
        slots: that were looked at and may be found; shape (n,), ascending. None: `cosines` has every slot of the base
            in its place, since to pick some of many takes longer than to look at all.
        cosines: of these; shape (n,), or (slots,), where one that is not `known` says nothing.
        known: which of `cosines` have a vector and may be found; the same shape.
        spread: of the cosines of the whole base.
        exact: whether every vector that may be found was looked at.
    """

    slots: NDArray[np.int64] | None
    cosines: Floats
    known: Mask
    spread: Spread
    exact: bool

    def best(self, least: float) -> tuple[NDArray[np.int64], Floats]:
        """Slots of what is at least so like, ascending, and their cosines; shapes (n,)."""
        places = np.flatnonzero(self.known & (self.cosines >= np.float32(least)))
        return places if self.slots is None else self.slots[places], self.cosines[places]


def likeness(
    vectors: Vectors, nearest: Nearest | None, query: Floats, allowed: Mask, alive: Mask, wanted: int, *, exact: bool
) -> Likeness:
    """What is like a query.

    Args:
        vectors: of the base.
        nearest: index of these, or None.
        query: of length 1; shape (dimension,).
        allowed: slots that may be found; shape (slots,).
        alive: slots that have an entry; shape (slots,).
        wanted: how many of the best must be among what is found.
        exact: whether every vector must be looked at.
    """
    rows, has = vectors.read(len(allowed))
    living = np.flatnonzero(has & alive[: len(has)])
    spread = spread_of(rows[sample(living)] @ query)
    may = has & allowed[: len(has)]
    number = int(may.sum())
    indexed = nearest if nearest is not None and nearest.usable and not exact else None
    if indexed is not None and 2 * number >= len(living) and large(number, vectors):
        found = _proposed(rows, indexed, query, may, wanted)
        if len(found) >= min(wanted, number):
            return Likeness(found, rows[found] @ query, np.ones(len(found), np.bool_), spread, exact=False)
    if number * _SPARSE <= len(rows):
        slots = np.flatnonzero(may)
        return Likeness(slots, rows[slots] @ query, np.ones(len(slots), np.bool_), spread, exact=True)
    cosines, known = np.zeros(len(allowed), np.float32), np.zeros(len(allowed), np.bool_)
    np.matmul(rows, query, out=cosines[: len(rows)])
    known[: len(may)] = may
    return Likeness(None, cosines, known, spread, exact=True)


def large(number: int, vectors: Vectors) -> bool:
    """Whether an index is quicker than looking at so many of some vectors."""
    return number * vectors.dimension > vectors.exact


def _proposed(rows: Floats, nearest: Nearest, query: Floats, may: Mask, wanted: int) -> NDArray[np.int64]:
    """The best of what the index has, and everything that it has not."""
    slots = nearest.search(query, max(_MORE * wanted, _FEWEST)).astype(np.int64)
    newer = np.arange(nearest.upto, len(may), dtype=np.int64)
    found = np.unique(np.concatenate([slots[slots < nearest.upto], newer]))
    kept: NDArray[np.int64] = found[may[found]]
    return kept


def cosines_of(vectors: Vectors, query: Floats, slots: NDArray[np.int64]) -> tuple[Floats, Mask]:
    """The cosines of some slots, 0 without a vector, and which of them have one; shapes (n,)."""
    rows, has = vectors.read(int(slots.max()) + 1 if len(slots) else 0)
    known = slots < len(rows)
    known[known] = has[slots[known]]
    cosines = np.zeros(len(slots), np.float32)
    cosines[known] = rows[slots[known]] @ query
    return cosines, known
