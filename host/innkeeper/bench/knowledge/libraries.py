"""A library in a database of its own, for rows that need one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from innkeeper.knowledge.embedding.interface import ModelIdentity
from innkeeper.knowledge.embedding.texts import TEXT_VERSION, embedding_text
from innkeeper.knowledge.library import Library
from innkeeper.knowledge.model.entry import Entry
from innkeeper.knowledge.retrieval.interface import Change as Searched
from innkeeper.knowledge.retrieval.interface import Indexed, Removed, indexed
from innkeeper.knowledge.retrieval.retriever import Retriever
from innkeeper.knowledge.store.values import IMPORT, BaseState, Change, Origin, Stored, Vector
from innkeeper.knowledge.text.blob import TERMS_VERSION, entry_terms
from innkeeper.storage.database import open_database
from innkeeper.storage.knowledge_model import Place

PLACE: Final = Place("bench", "bench")
SEARCH: Final = "search"
IMPORTED: Final = Origin(IMPORT)


class SearchLegs:
    """Implements `store.legs.Legs` with what a search by words and meaning needs."""

    key = f"bench-{TERMS_VERSION}-{TEXT_VERSION}"

    def terms(self, entry: Entry) -> bytes:
        """As `Legs.terms`."""
        return entry_terms(entry)

    def text(self, entry: Entry) -> str:
        """As `Legs.text`."""
        return embedding_text(entry)


class SearchIndex:
    """Implements `live.index.LiveIndex` with a retriever."""

    def __init__(self, model: ModelIdentity | None = None) -> None:
        """Args:
        model: of the base's vectors, or None.
        """
        self._model = model
        self.retriever = Retriever(model)
        self.cost = 0

    def build(self, state: BaseState, entries: Iterator[Stored]) -> None:
        """As `LiveIndex.build`."""
        self.retriever = Retriever.build((self._indexed(each) for each in entries), self._model)
        while self.retriever.wants_upkeep:
            self.retriever.upkeep()

    def apply(self, state: BaseState, changed: Sequence[Stored], deleted: Sequence[str]) -> None:
        """As `LiveIndex.apply`."""
        changes: list[Searched] = [Removed(id) for id in deleted]
        self.retriever.apply([*changes, *(self._indexed(each) for each in changed)])

    def _indexed(self, entry: Stored) -> Indexed:
        vector = None
        if self._model is not None and entry.vector is not None:
            vector = np.frombuffer(entry.vector, "<f2").astype(np.float32)
        return indexed(entry.entry(), entry.terms, vector)


@asynccontextmanager
async def open_library(folder: Path, model: ModelIdentity | None = None) -> AsyncIterator[Library]:
    """An empty library with the index `SEARCH`, in a new database.

    Args:
        folder: of the run.
        model: of the vectors of its bases, or None.
    """
    async with open_database(folder / "data" / "bench.db") as database:
        library = Library(database, SearchLegs(), indexes={SEARCH: lambda: SearchIndex(model)})
        try:
            yield library
        finally:
            await library.aclose()


def change_of(document: dict[str, Any], vector: np.ndarray[Any, Any] | None = None, model: str = "") -> Change:
    """A change that puts an entry, with its vector.

    Args:
        document: of the entry.
        vector: of its text, or None.
        model: `ModelIdentity.key` of the model that made it.
    """
    made = None if vector is None else Vector(model, len(vector), vector.astype("<f2").tobytes())
    return Change(document["id"], document, vector=made)
