"""An index of the nearest vectors, for bases so large that looking at each takes too long.

An index is built once and never changed: adding to one that has lost entries leaves vectors that cannot be found.
Vectors come from the host's own memory, never from a file of usearch: a crafted one ends the process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

EF: Final = 512
"""Candidates that a search keeps. With usearch's 64, one in seventeen of the true ten nearest was missed on real texts,
with 256 one in fifty to two hundred."""

_PIECE = 256
"""Vectors that are added between two looks at whether to go on."""


class Nearest:
    """Which vectors are likely to be nearest to another.

    Attributes:
        upto: the slots before this one are in it, as they were when it was built.
        size: vectors that it has.
    """

    def __init__(self, index: Any, slots: NDArray[np.int32], upto: int) -> None:
        """Args:
        index: of usearch; its keys are positions in `slots`.
        slots: where each vector lies, or -1 where it is gone.
        upto: see there.
        """
        self._index = index
        self._slots = slots
        self.upto = upto
        self.size = len(slots)

    def moved(self, places: NDArray[np.int32], upto: int) -> Nearest:
        """The same index after vectors have moved.

        Args:
            places: the new slot of each old one, or -1.
            upto: the first new slot that it does not know.
        """
        known = self._slots >= 0
        slots = np.full(self.size, -1, np.int32)
        slots[known] = places[self._slots[known]]
        return Nearest(self._index, slots, upto)

    def search(self, vector: NDArray[np.float32], count: int) -> NDArray[np.int32]:
        """Slots of vectors that are near, about the nearest first; shape (count,) or less.

        Args:
            vector: shape (dimension,), finite and not zero.
            count: how many.
        """
        # usearch takes the larger of both as its list of candidates.
        found = self._index.search(vector, min(count, self.size), threads=1)
        slots = self._slots[np.asarray(found.keys, np.int64)]
        return slots[slots >= 0]


def build_nearest(
    vectors: NDArray[np.float32], slots: NDArray[np.int32], upto: int, stop: Callable[[], bool]
) -> Nearest | None:
    """An index of some vectors. Takes some 0.2 to 0.5 ms for each: for a thread. The same vectors make the same index.

    Args:
        vectors: shape (any, dimension); those at `slots` are finite and not zero.
        slots: where they lie.
        upto: as of `Nearest`.
        stop: asked often; True: no index is wanted any more, and None is the answer.
    """
    from usearch.index import Index

    index = Index(ndim=vectors.shape[1], metric="cos", dtype="f16", expansion_search=EF)
    for at in range(0, len(slots), _PIECE):
        if stop():
            return None
        part = slots[at : at + _PIECE]
        # With more threads some vectors are lost.
        index.add(np.arange(at, at + len(part), dtype=np.uint64), vectors[part], threads=1)
    return Nearest(index, slots, upto)
