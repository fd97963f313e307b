"""What a model of embeddings is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""Shape (texts, dimension)."""


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model made a vector. Vectors of different identities are never compared.

    Attributes:
        id: of the model, such as "wordllama-l2-256".
        version: of its weights or of the endpoint's model, or "".
        dimension: numbers in a vector.
    """

    id: str
    version: str
    dimension: int

    @property
    def key(self) -> str:
        """The text that bases record: "ID@VERSION/DIMENSION", without "@" where there is no version."""
        return f"{self.id}@{self.version}/{self.dimension}" if self.version else f"{self.id}/{self.dimension}"


class Embedder(Protocol):
    """A model that is ready."""

    @property
    def identity(self) -> ModelIdentity:
        """Which model it is; does not change."""
        ...

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """A vector of length 1 for each text; zeros where the model has nothing to say of it (an empty text).

        Every number is finite. Raises EmbeddingError where the model fails, cannot be reached, or gives something else.
        """
        ...


class EmbeddingError(Exception):
    """A model could not be used. The message is a sentence without secrets."""
