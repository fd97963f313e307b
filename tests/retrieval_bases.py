"""Small bases to search, with a model that anybody can compute in the head."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from innkeeper.knowledge.embedding.interface import EmbeddingError, ModelIdentity, Vectors
from innkeeper.knowledge.model.entry import Entry, read_entry
from innkeeper.knowledge.retrieval.interface import Indexed, indexed
from innkeeper.knowledge.retrieval.legs import TextLegs
from innkeeper.knowledge.retrieval.retriever import Retriever

LEGS = TextLegs()
DIMENSION = 16


def entry_of(id: str, text: str = "", name: str | None = None, keys: Sequence[str] = (), **more: object) -> Entry:
    """An entry; `more` are parts of its document."""
    document = {
        "id": id,
        "displayName": name,
        "content": {"value": text},
        "activation_criteria": {"keywords": list(keys), "use_semantic_search": True},
        **more,
    }
    found, problems = read_entry(document)
    assert found is not None, problems
    return found


def item_of(entry: Entry, vector: np.ndarray | None = None) -> Indexed:
    return indexed(entry, LEGS.terms(entry), vector)


def vector_of(text: str, dimension: int = DIMENSION) -> np.ndarray:
    """A direction of its own for each text."""
    seed = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "little")
    made = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
    return made / np.float32(np.linalg.norm(made))


class Concepts:
    """A model whose texts mean what their words are mapped to: the mean of the directions of concepts."""

    def __init__(self, concepts: Mapping[str, str], *, id: str = "concepts", dimension: int = DIMENSION) -> None:
        self.concepts = dict(concepts)
        self.identity = ModelIdentity(id, "", dimension)
        self.asked: list[list[str]] = []
        self.failure: Exception | None = None

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked.append(list(texts))
        if self.failure is not None:
            raise self.failure
        return np.array([self.vector(text) for text in texts], np.float32).reshape(len(texts), self.identity.dimension)

    def vector(self, text: str) -> np.ndarray:
        words = [self.concepts.get(word.strip(".,?!"), word.strip(".,?!")) for word in text.lower().split()]
        made = sum((vector_of(word, self.identity.dimension) for word in words), np.zeros(self.identity.dimension))
        length = np.linalg.norm(made)
        return (made / length if length else made).astype(np.float32)

    def base(self, entries: Iterable[Entry]) -> Retriever:
        return Retriever.build([item_of(each, self.vector(LEGS.text(each))) for each in entries], self.identity)


class Failing:
    """A model that is there and fails."""

    def __init__(self, identity: ModelIdentity, message: str = "the endpoint is asleep") -> None:
        self.identity = identity
        self._message = message

    async def embed(self, texts: Sequence[str]) -> Vectors:
        raise EmbeddingError(self._message)
