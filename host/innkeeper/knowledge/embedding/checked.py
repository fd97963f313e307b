"""Vectors that somebody else made, looked at before they are used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from innkeeper.knowledge.embedding.interface import EmbeddingError, Vectors

MOST_DIMENSION: Final = 8192
"""Numbers of a vector."""


def checked(given: object, texts: int, dimension: int | None, who: str) -> Vectors:
    """Vectors of length 1, or zeros.

    Args:
        given: a list of vectors, each float32 in little-endian as bytes or a list of numbers.
        texts: how many there must be.
        dimension: that each must have; None: what the first has.
        who: whose they are, for messages.

    Raises:
        EmbeddingError: they are something else.
    """
    if not isinstance(given, list | tuple):
        raise EmbeddingError(f"{who} did not answer with a list of vectors")
    if len(given) != texts:
        raise EmbeddingError(f"{who} gave {len(given)} vectors for {texts} texts")
    if dimension is None:
        dimension = _size(given[0]) if given else 0
    if not 1 <= dimension <= MOST_DIMENSION:
        raise EmbeddingError(f"{who} gave vectors of {dimension} numbers: a vector has 1 to {MOST_DIMENSION}")
    made = np.zeros((texts, dimension), np.float32)
    for at, each in enumerate(given):
        if _size(each) != dimension:
            raise EmbeddingError(
                f"{who} gave a vector of {_size(each)} numbers, and the others have {dimension}: the model behind the "
                "name is another by now"
            )
        try:
            made[at] = np.frombuffer(each, "<f4") if isinstance(each, bytes) else _numbers(each)
        except (TypeError, ValueError, OverflowError):
            raise EmbeddingError(f"{who} gave a vector with something else than numbers") from None
    return unit(made, who)


def unit(vectors: Vectors, who: str) -> Vectors:
    """The same vectors with length 1; zeros stay zeros.

    Raises:
        EmbeddingError: a number is not finite.
    """
    if not np.isfinite(vectors).all():
        raise EmbeddingError(f"{who} gave a number that is not finite")
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return (vectors / np.where(lengths > 1e-12, lengths, np.inf)).astype(np.float32)


def _size(vector: Any) -> int:
    if isinstance(vector, bytes):
        return len(vector) // 4 if len(vector) % 4 == 0 else 0
    return len(vector) if isinstance(vector, list | tuple) else 0


def _numbers(vector: Sequence[Any]) -> Sequence[float]:
    if any(isinstance(each, bool) or not isinstance(each, int | float) for each in vector):
        raise ValueError
    return vector
