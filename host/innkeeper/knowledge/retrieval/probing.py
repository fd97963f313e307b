"""What is found out of a model with a base's own texts: its background and its competence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
import trio

from innkeeper.knowledge.embedding.interface import Embedder, Vectors
from innkeeper.knowledge.retrieval.calibration import Calibration, calibrate
from innkeeper.knowledge.retrieval.competence import measure

MOST_PROBES: Final = 256
"""Sentences that are embedded."""

_SHORTEST = 8
_LONGEST = 160


async def calibrated(embedder: Embedder, texts: Sequence[str], vectors: Vectors) -> Calibration:
    """What cosines mean in a base under a model, and how well the model knows its languages. Embeds at most
    `MOST_PROBES` sentences, and 256 halves of texts in each script.

    Args:
        embedder: the model.
        texts: of entries, as `TextLegs.text` gives them; some thousand of a large base are enough.
        vectors: of the same entries, in the same order; zeros where one has none. Shape (texts, dimension).

    Raises:
        EmbeddingError: the model failed.
    """
    sentences = await trio.to_thread.run_sync(probes, texts)
    probed = await embedder.embed([each for _, each in sentences]) if sentences else None
    own = [at for at, _ in sentences]
    found = await trio.to_thread.run_sync(calibrate, embedder.identity, vectors, probed, own)
    return found.with_competence(await measure(embedder, texts))


def probes(texts: Sequence[str]) -> list[tuple[int, str]]:
    """Sentences of some texts, like what people say of them: the position of the text and the sentence, at most one of
    each text and `MOST_PROBES`."""
    found = []
    for at in np.linspace(0, len(texts) - 1, min(len(texts), MOST_PROBES)).astype(int).tolist():
        sentences = [each.strip() for each in _ends().split(texts[at][:4000])]
        sentences = [each[:_LONGEST] for each in sentences if len(each) >= _SHORTEST]
        if sentences:
            found.append((at, sentences[len(sentences) // 2]))
    return found


@cache
def _ends() -> re.Pattern[str]:
    return re.compile(r"(?<=[.!?])\s|[。！？\n]")
