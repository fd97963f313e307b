"""The vectors of a base: every one is looked at, as long as that is quick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

EXACT: Final = 32_000_000
"""Numbers (vectors times dimension) up to which every vector is looked at: 125,000 of 256. An index that finds `RECALL`
of them is not quicker below, has to be built, and can miss something."""

MOST_NUMBERS: Final = 320_000_000
"""Numbers of all vectors of a base in memory, 1.2 GiB. A base that has more is searched by words."""

_SAMPLE = 1024
_NOTHING = 1e-12
"""Length of a vector below which it has no direction."""

Floats = NDArray[np.float32]


class Vectors:
    """Vectors of length 1 by slot. Written by one thread at a time; others may read meanwhile.

    Attributes:
        dimension: numbers of a vector.
        exact: numbers up to which every vector is looked at.
        has: which slots have one; shape (room,).
        held: vectors in use, those of removed entries included.
    """

    def __init__(self, dimension: int, room: int, exact: int | None = None) -> None:
        self.dimension = dimension
        self.exact = EXACT if exact is None else exact
        self._most = max(2 * MOST_NUMBERS // dimension, 1)
        room = min(room, self._most)
        self.has = np.zeros(room, np.bool_)
        # Memory that nobody wrote to costs nothing.
        self.rows = np.zeros((room, dimension), np.float32)
        self.held = 0

    def put(self, slot: int, vector: Floats) -> bool:
        """Takes a vector; False where it says nothing, being zeros, or where the base has too many.

        Raises:
            ValueError: it has another dimension, or a number that is not finite.
        """
        if vector.shape != (self.dimension,):
            raise ValueError(f"a vector has the shape {vector.shape}, and not ({self.dimension},)")
        made = _unit(vector, "a vector")
        if made is None or slot >= self._most or (self.held + 1) * self.dimension > MOST_NUMBERS:
            return False
        self._grow(slot + 1)
        self.rows[slot] = made
        self.has[slot] = True
        self.held += 1
        return True

    def put_many(self, slots: NDArray[np.int64], vectors: Sequence[Floats]) -> int:
        """Takes vectors of slots that ascend, in one piece; gives how many of them were left out (int): of another
        dimension, not finite, zeros, or too many.

        Args:
            slots: shape (n,).
            vectors: of each.
        """
        fitting = [at for at, each in enumerate(vectors) if each.shape == (self.dimension,)]
        room = max(MOST_NUMBERS // self.dimension - self.held, 0)
        made = np.array([vectors[at] for at in fitting], np.float64).reshape(len(fitting), self.dimension)
        lengths = np.sqrt(np.einsum("ij,ij->i", made, made))
        usable = np.isfinite(lengths) & (lengths >= _NOTHING)
        chosen = np.asarray(slots, np.int64)[fitting]
        usable &= chosen < self._most
        usable &= np.cumsum(usable) <= room
        kept = chosen[usable]
        if len(kept):
            self._grow(int(kept[-1]) + 1)
            self.rows[kept] = made[usable] / lengths[usable, None]
            self.has[kept] = True
            self.held += len(kept)
        return len(vectors) - len(kept)

    def _grow(self, slots: int) -> None:
        if slots > len(self.has):
            room = min(max(2 * len(self.has), slots), self._most)
            rows, has = np.zeros((room, self.dimension), np.float32), np.zeros(room, np.bool_)
            rows[: len(self.rows)], has[: len(self.has)] = self.rows, self.has
            self.rows, self.has = rows, has

    def put_all(self, rows: Floats, has: NDArray[np.bool_]) -> None:
        """Takes the vectors of the first slots, which were checked already.

        Args:
            rows: shape (any, dimension).
            has: which of them are there.
        """
        self.rows[: len(rows)], self.has[: len(has)] = rows, has
        self.held += int(has.sum())

    def read(self, count: int) -> tuple[Floats, NDArray[np.bool_]]:
        """The rows of the first `count` slots, and which of them are there; fewer where the last ones have none."""
        rows, has = self.rows, self.has
        count = min(count, len(rows), len(has))
        return rows[:count], has[:count]


@dataclass(frozen=True, slots=True)
class Spread:
    """How the likenesses of a query to a base are distributed.

    Attributes:
        mean, deviation: of the cosines.
    """

    mean: float
    deviation: float

    def z(self, value: float) -> float:
        """How many standard deviations a value is above the mean; 0 where all are equal."""
        return (value - self.mean) / self.deviation if self.deviation > 1e-9 else 0.0


def spread_of(values: Floats) -> Spread:
    """The spread of some values, of none too."""
    if not len(values):
        return Spread(0.0, 0.0)
    mean = float(values.mean(dtype=np.float64))
    return Spread(mean, float(np.sqrt(max(float(np.square(values - mean).mean(dtype=np.float64)), 0.0))))


def sample(slots: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most 1,024 of some slots, evenly, so that their spread stands for all."""
    if len(slots) <= _SAMPLE:
        return slots
    return slots[np.linspace(0, len(slots) - 1, _SAMPLE).astype(np.int64)]


def as_query(vector: Floats, dimension: int) -> Floats | None:
    """A query's vector with length 1, or None where it says nothing.

    Raises:
        ValueError: it has another dimension, or a number that is not finite.
    """
    if vector.shape != (dimension,):
        raise ValueError(f"the query's vector has the shape {vector.shape}, and the base's have ({dimension},)")
    return _unit(vector, "the query's vector")


def _unit(vector: Floats, what: str) -> Floats | None:
    """A vector with length 1, or None where it has no direction."""
    wide = vector.astype(np.float64)
    length = float(np.linalg.norm(wide))
    if not np.isfinite(length):
        raise ValueError(f"{what} has a number that is not finite")
    return None if length < _NOTHING else (wide / length).astype(np.float32)
