"""Likeness of meaning, as activation asks for it."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from innkeeper.knowledge.activation.questions import Likeness
from innkeeper.knowledge.embedding.interface import EmbeddingError
from innkeeper.knowledge.joined.bases import Bases
from innkeeper.knowledge.retrieval.thresholds import carried_over
from innkeeper.storage.knowledge_model import Place


class Meaning:
    """Implements `activation.questions.Semantic` for one activation.

    Attributes:
        notes: what did not work, as sentences.
    """

    def __init__(self, bases: Bases, places: Sequence[Place]) -> None:
        self._bases = bases
        self._places = {place.base: place for place in places}
        self.notes: list[str] = []

    async def likeness(self, base: str, query: str) -> Likeness | None:
        """As `Semantic.likeness`. A base whose model is not here is activated by words alone, and a note says so."""
        place = self._places[base]
        live = await self._bases.base(place)
        embedder, trouble = await self._bases.embedder(place)
        if embedder is None:
            if trouble:
                self.notes.append(f"likeness of meaning activated nothing in {base!r}: {trouble}")
            return None
        retriever = (await self._bases.search(place)).retriever
        if retriever.model != embedder.identity or retriever.calibration is None:
            return None
        try:
            (vector,) = await embedder.embed([query])
        except EmbeddingError as error:
            self.notes.append(f"likeness of meaning activated nothing in {base!r}: {error}")
            return None
        if not vector.any():
            return None
        scores = await trio.to_thread.run_sync(retriever.similarities, vector)
        calibration = retriever.calibration
        recorded, carry = carried_over(live.state.info, calibration)
        return Likeness(scores, calibration.threshold, embedder.identity.key, recorded, carry)
