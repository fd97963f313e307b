"""Likeness of meaning, as activation asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import trio

from innkeeper.knowledge.activation.questions import Likeness
from innkeeper.knowledge.embedding.interface import EmbeddingError, ModelIdentity
from innkeeper.knowledge.joined.bases import PATIENCE, Bases
from innkeeper.knowledge.retrieval.calibration import Calibration, calibrate, carried, read_calibration
from innkeeper.knowledge.retrieval.kept import calibration_in, identity_of
from innkeeper.knowledge.store.values import BaseState
from innkeeper.storage.knowledge_model import Place

THRESHOLDS = "innkeeper.thresholds"
"""Under which key of `kb_extensions` lies the calibration of the model that the authors' thresholds are cosines of,
where that is another one than the base's own by now."""


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
    extensions = state.info.get("kb_extensions")
    said = extensions.get(THRESHOLDS) if isinstance(extensions, Mapping) else None
    if said is None:
        return "", None
    try:
        of = read_calibration(said)
    except ValueError:
        return "", None
    if of.model == to.model:
        return "", None
    return of.model, lambda threshold: carried(threshold, of, to)


def thresholds_of(info: Mapping[str, Any], model: str) -> Mapping[str, Any] | None:
    """What a base that is embedded with another model from now on must say of its thresholds; None where it says so
    already, or nobody has written a threshold under another model.

    Args:
        info: what the base says of itself before.
        model: key of the new model.
    """
    extensions = info.get("kb_extensions")
    if isinstance(extensions, Mapping) and THRESHOLDS in extensions:
        return None
    recorded = info.get("embedding_model_id")
    if not isinstance(recorded, str) or not recorded or recorded == model:
        return None
    own = calibration_in(info)
    if own is not None and own.model == recorded:
        return own.as_value()
    identity = identity_of(recorded)
    if identity is None:
        identity = ModelIdentity(recorded[:200], "", 1)
    # Nobody has vectors of that model: what is known of models in general has to do.
    guess = replace(calibrate(identity, np.zeros((0, identity.dimension), np.float32)), model=recorded)
    return guess.as_value()
