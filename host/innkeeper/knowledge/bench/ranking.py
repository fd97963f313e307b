"""Measures the search with a data set: by words, by meaning, and by both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import trio

from innkeeper.knowledge.bench.measures import DEPTH, ndcg, recall
from innkeeper.knowledge.bench.sets import DataSet
from innkeeper.knowledge.embedding.interface import Embedder, Vectors
from innkeeper.knowledge.model.entry import Entry
from innkeeper.knowledge.retrieval.calibration import calibrate
from innkeeper.knowledge.retrieval.competence import measure
from innkeeper.knowledge.retrieval.interface import Mode, indexed
from innkeeper.knowledge.retrieval.retriever import Retriever
from innkeeper.knowledge.text.blob import entry_terms

MODES: Final = (Mode.KEYWORD, Mode.SEMANTIC, Mode.HYBRID)

_PIECE = 512
"""Texts that are embedded, and questions that are asked, before somebody hears of it."""


@dataclass(frozen=True, slots=True)
class Score:
    """How well one way of searching did.

    Attributes:
        ndcg: mean of nDCG@10 over the questions, 0 to 1.
        recall: mean of recall@10.
    """

    ndcg: float
    recall: float


@dataclass(frozen=True, slots=True)
class Measured:
    """How well a data set was searched.

    Attributes:
        name: of the set.
        entries, questions: how many it has.
        model: `ModelIdentity.key` of the model.
        scores: by how it was searched.
        notes: what a reader must know.
    """

    name: str
    entries: int
    questions: int
    model: str
    scores: dict[Mode, Score]
    notes: Sequence[str] = ()

    def as_object(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "name": self.name,
            "entries": self.entries,
            "questions": self.questions,
            "model": self.model,
            "scores": {mode.value: {"ndcg": score.ndcg, "recall": score.recall} for mode, score in self.scores.items()},
            "notes": list(self.notes),
        }


async def embedded(embedder: Embedder, texts: Sequence[str], progress: Callable[[int], None]) -> Vectors:
    """The vectors of many texts.

    Args:
        embedder: the model.
        texts: any number.
        progress: told how many more are done.
    """
    parts = []
    for at in range(0, len(texts), _PIECE):
        piece = texts[at : at + _PIECE]
        parts.append(await embedder.embed(piece))
        progress(len(piece))
    return np.concatenate(parts) if parts else np.zeros((0, embedder.identity.dimension), np.float32)


async def evaluate(
    data: DataSet,
    embedder: Embedder,
    text_of: Callable[[Entry], str],
    progress: Callable[[int], None] = lambda done: None,
) -> Measured:
    """Searches a set's entries with each of its questions.

    Args:
        data: the set.
        embedder: the model.
        text_of: what of an entry is embedded.
        progress: told how many more of `steps_of` are done.

    Raises:
        EmbeddingError: the model failed.
    """
    texts = [text_of(entry) for entry in data.entries]
    vectors = await embedded(embedder, texts, progress)
    asked = await embedded(embedder, [question.text for question in data.questions], progress)
    competence = await measure(embedder, texts)
    retriever = await trio.to_thread.run_sync(_build, data, embedder, vectors, competence)
    totals = {mode: np.zeros(2) for mode in MODES}
    for at in range(0, len(data.questions), _PIECE):
        end = min(at + _PIECE, len(data.questions))
        for mode, sums in (await trio.to_thread.run_sync(_asked, retriever, data, asked, at, end)).items():
            totals[mode] += sums
        progress(end - at)
    count = len(data.questions)
    scores = {mode: Score(float(sums[0]) / count, float(sums[1]) / count) for mode, sums in totals.items()}
    return Measured(data.name, len(data.entries), count, embedder.identity.key, scores, data.notes)


def steps_of(data: DataSet) -> int:
    """How many steps `evaluate` reports (int)."""
    return len(data.entries) + 2 * len(data.questions)


def _build(data: DataSet, embedder: Embedder, vectors: Vectors, competence: dict[str, float]) -> Retriever:
    entries = [
        indexed(entry, entry_terms(entry), vector if vector.any() else None)
        for entry, vector in zip(data.entries, vectors, strict=True)
    ]
    calibration = calibrate(embedder.identity, vectors).with_competence(competence)
    return Retriever.build(entries, embedder.identity, calibration)


def _asked(retriever: Retriever, data: DataSet, vectors: Vectors, begin: int, end: int) -> dict[Mode, Any]:
    """Sums of both measures over some questions, by mode."""
    sums = {mode: np.zeros(2) for mode in MODES}
    for question, vector in zip(data.questions[begin:end], vectors[begin:end], strict=True):
        for mode in MODES:
            # Without a vector words are searched in any mode; a search by meaning then finds nothing by itself.
            if mode is Mode.SEMANTIC and not vector.any():
                continue
            found = retriever.search(question.text, DEPTH, vector=vector if vector.any() else None, mode=mode)
            ranked = [hit.id for hit in found.hits]
            sums[mode] += (ndcg(ranked, question.gains), recall(ranked, question.gains))
    return sums
