"""Made-up vectors that lie together in clusters, as those of texts do."""

from __future__ import annotations

import numpy as np

from innkeeper.knowledge.embedding.interface import Vectors

_EACH = 50
"""Vectors of a cluster, on average."""

_SPREAD = 0.9
"""Length of what sets a vector apart from the middle of its cluster, which has the length 1: two of one cluster have a
cosine of about 0.55."""


def clustered(count: int, dimension: int, seed: int) -> Vectors:
    """Vectors of length 1 in clusters of about fifty, in no order.

    Args:
        count, dimension: shape.
        seed: of them.
    """
    chance = np.random.Generator(np.random.PCG64(seed))
    middles = _unit(chance.standard_normal((max(1, count // _EACH), dimension), np.float32))
    made = middles[chance.integers(0, len(middles), count)]
    made += _SPREAD * _unit(chance.standard_normal((count, dimension), np.float32))
    return _unit(made)


def near(vectors: Vectors, count: int, seed: int) -> Vectors:
    """Queries: vectors of length 1, each near to one that is there.

    Args:
        vectors: of length 1, shape (any, dimension).
        count: how many.
        seed: of them.
    """
    chance = np.random.Generator(np.random.PCG64(seed))
    made = vectors[chance.integers(0, len(vectors), count)]
    made += _SPREAD * _unit(chance.standard_normal((count, vectors.shape[1]), np.float32))
    return _unit(made)


def _unit(rows: Vectors) -> Vectors:
    length = np.linalg.norm(rows, axis=1, keepdims=True).astype(np.float32)
    return np.asarray(rows / np.maximum(length, np.float32(1e-12)), np.float32)
