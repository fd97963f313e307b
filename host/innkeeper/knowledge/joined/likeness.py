"""Likeness of meaning, as activation asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import trio

from innkeeper.knowledge.activation.questions import Likeness
from innkeeper.knowledge.embedding.interface import EmbeddingError
from innkeeper.knowledge.joined.bases import PATIENCE, Bases
from innkeeper.knowledge.retrieval.calibration import Calibration, calibrate, carried, read_calibration
from innkeeper.knowledge.retrieval.kept import identity_of
from innkeeper.knowledge.store.values import BaseState
from innkeeper.storage.knowledge_model import Place

THRESHOLDS = "thresholds"
"""Under which key of `kb_extensions.innkeeper` it is said which model the authors' thresholds are cosines of."""


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
            with trio.fail_after(PATIENCE):
                (vector,) = await embedder.embed([query])
        except (EmbeddingError, trio.TooSlowError) as error:
            why = str(error) or f"the model did not answer within {PATIENCE:g} s"
            self.notes.append(f"likeness of meaning activated nothing in {base!r}: {why}")
            return None
        if not vector.any():
            return None
        scores = await trio.to_thread.run_sync(retriever.similarities, vector)
        calibration = retriever.calibration
        recorded, carry = _carried(live.state, calibration)
        return Likeness(scores, calibration.threshold, embedder.identity.key, recorded, carry)


def _carried(state: BaseState, to: Calibration) -> tuple[str, Callable[[float], float] | None]:
    """The model that the thresholds of a base are cosines of, and what carries them over; "" and None where it is the
    one that is asked."""
    said = own_of(state.info).get(THRESHOLDS)
    recorded = said.get("model") if isinstance(said, dict) else None
    if not isinstance(recorded, str) or not recorded or recorded == to.model:
        return "", None
    try:
        of = read_calibration(said.get("calibration") if isinstance(said, dict) else None)
    except ValueError:
        # Nobody has vectors of that model: what is known of models in general has to do.
        identity = identity_of(recorded)
        if identity is None:
            return "", None
        of = calibrate(identity, np.zeros((0, identity.dimension), np.float32))
    return recorded, lambda threshold: carried(threshold, of, to)
