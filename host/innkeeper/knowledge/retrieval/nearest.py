"""An index of the nearest vectors, for bases so large that looking at each takes too long.

An index is built once and never changed: adding to one that has lost entries leaves vectors that cannot be found.
Vectors come from the host's own memory, never from a file of usearch: a crafted one ends the process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

EF: Final = (128, 256, 512, 1024)
"""Candidates that a search keeps: the fewest of these that find enough. How many it takes hangs on the vectors. Of
texts that have much in common, 512 miss one in six of the true ten nearest; of others, 128 one in a hundred."""

RECALL: Final = 0.99
"""Share of the true ten nearest that an index must find to be used."""

_NEAREST = 10
_QUESTIONS = 96
_ROUND = 16
"""Questions that are answered exactly at a time."""

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
        index: of usearch; its keys are positions in `slots`. None: one was built, and it misses too much.
        slots: where each vector lies, or -1 where it is gone.
        upto: see there.
        """
        self._index = index
        self._slots = slots
        self.upto = upto
        self.size = len(slots)

    @property
    def usable(self) -> bool:
        """Whether it finds enough. One that does not is kept without its contents: it says that to build another one
        of about the same vectors is in vain."""
        return self._index is not None

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
    """An index of some vectors, of which was measured that it finds `RECALL` of what is nearest, else one that is not
    usable. Takes some 0.2 to 0.5 ms for each: for a thread. The same vectors make the same index.

    Args:
        vectors: shape (any, dimension); those at `slots` are finite and not zero.
        slots: where they lie.
        upto: as of `Nearest`.
        stop: asked often; True: no index is wanted any more, and None is the answer.
    """
    from usearch.index import Index

    if not len(slots):
        return Nearest(None, slots, upto)
    index = Index(ndim=vectors.shape[1], metric="cos", dtype="f16")
    for at in range(0, len(slots), _PIECE):
        if stop():
            return None
        part = slots[at : at + _PIECE]
        # With more threads some vectors are lost.
        index.add(np.arange(at, at + len(part), dtype=np.uint64), vectors[part], threads=1)
    questions = _questions(vectors, slots)
    cosines = _tenth(vectors, slots, questions)
    for candidates in EF:
        if stop():
            return None
        index.expansion_search = candidates  # type: ignore[misc] # its stub has no setter, the library has
        if _recall(index, vectors, slots, questions, cosines) >= RECALL:
            return Nearest(index, slots, upto)
    return Nearest(None, slots, upto)


def _questions(vectors: NDArray[np.float32], slots: NDArray[np.int32]) -> NDArray[np.float32]:
    """What could be asked; shape (n, dimension), each of length 1. Each lies between two entries: what lies on one is
    found more easily than questions are."""
    chance = np.random.Generator(np.random.PCG64(11))
    one, two = slots[chance.integers(0, len(slots), (2, _QUESTIONS))]
    made = vectors[one] + vectors[two]
    lengths = np.linalg.norm(made, axis=1, keepdims=True)
    kept = lengths[:, 0] > 1e-3
    found: NDArray[np.float32] = made[kept] / lengths[kept]
    return found


def _tenth(
    vectors: NDArray[np.float32], slots: NDArray[np.int32], questions: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The cosine of the last one of the truly nearest to each question; shape (n,)."""
    wanted = min(_NEAREST, len(slots))
    found = []
    for at in range(0, len(questions), _ROUND):
        cosines = (vectors @ questions[at : at + _ROUND].T)[slots]
        found.append(np.partition(cosines, len(slots) - wanted, axis=0)[len(slots) - wanted])
    return np.concatenate([np.zeros(0, np.float32), *found])


def _recall(
    index: Any,
    vectors: NDArray[np.float32],
    slots: NDArray[np.int32],
    questions: NDArray[np.float32],
    cosines: NDArray[np.float32],
) -> float:
    wanted = min(_NEAREST, len(slots))
    hits = 0
    for question, least in zip(questions, cosines, strict=True):
        keys = np.asarray(index.search(question, wanted, threads=1).keys, np.int64)
        # Others that are as near are as good.
        hits += int((vectors[slots[keys]] @ question >= least - 1e-6).sum())
    return hits / max(wanted * len(questions), 1)
