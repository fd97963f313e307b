"""Rows: how much of what exact search finds the index finds, and how long a search of both kinds takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import trio

from innkeeper.bench.knowledge.rows import ENTRIES
from innkeeper.bench.knowledge.timed import Timed
from innkeeper.bench.measured import Figure
from innkeeper.errors import InternalError
from innkeeper.knowledge.bench.clusters import clustered, near
from innkeeper.knowledge.bench.measures import DEPTH, recall
from innkeeper.knowledge.bench.synthetic import Writer
from innkeeper.knowledge.embedding.interface import ModelIdentity, Vectors
from innkeeper.knowledge.retrieval.interface import Indexed, Mode, indexed
from innkeeper.knowledge.retrieval.retriever import Retriever
from innkeeper.knowledge.text.blob import entry_terms

DIMENSION = 256
QUERIES = 300
_SEED = 20


async def measure(
    names: Sequence[str], folder: Path, entries: int = ENTRIES, queries: int = QUERIES
) -> dict[str, Timed]:
    """The rows of this module.

    Args:
        names: which.
        folder: not used; nothing is written.
        entries, queries: how many.
    """
    return await trio.to_thread.run_sync(_measure, names, entries, queries)


def _measure(names: Sequence[str], entries: int, queries: int) -> dict[str, Timed]:
    made, questions, vectors = _base(entries, queries)
    # One that is believed: of a model that is not, words alone would be searched.
    model = ModelIdentity("made-up", "", DIMENSION)
    found: dict[str, Timed] = {}
    if "index-recall" in names:
        # A base of this size is searched without an index: it is made to have one.
        found["index-recall"] = _recall(_ready(Retriever.build(made, model, exact=0)), vectors)
    if "hybrid" in names:
        found["hybrid"] = _hybrid(_ready(Retriever.build(made, model)), questions, vectors)
    return found


def _ready(retriever: Retriever) -> Retriever:
    while retriever.wants_upkeep:
        retriever.upkeep()
    return retriever


def _base(entries: int, queries: int) -> tuple[list[Indexed], list[str], Vectors]:
    writer = Writer(_SEED)
    vectors = clustered(entries, DIMENSION, _SEED)
    texts: list[str] = []
    made = []
    for at, entry in enumerate(writer.entries(entries)):
        if len(texts) < queries and at % max(1, entries // queries) == 0:
            texts.append(writer.question(entry.text, chinese="lang:zh" in entry.management_metadata.tags))
        made.append(indexed(entry, entry_terms(entry), vectors[at]))
    return made, texts, near(vectors, len(texts), _SEED + 1)


def _recall(retriever: Retriever, vectors: Vectors) -> Timed:
    shares, through_index = [], 0
    for vector in vectors:
        exact = retriever.search("", DEPTH, vector=vector, mode=Mode.SEMANTIC, exact=True)
        found = retriever.search("", DEPTH, vector=vector, mode=Mode.SEMANTIC)
        through_index += not found.exact
        shares.append(recall([hit.id for hit in found.hits], [hit.id for hit in exact.hits]))
    mean = float(np.mean(shares))
    return Timed(Figure(mean, mean, mean, len(shares)), {"through_index": through_index / len(shares)})


def _hybrid(retriever: Retriever, questions: Sequence[str], vectors: Vectors) -> Timed:
    samples = []
    for question, vector in zip(questions, vectors, strict=True):
        before = time.perf_counter()
        answer = retriever.search(question, DEPTH, vector=vector)
        samples.append(time.perf_counter() - before)
        if answer.mode is not Mode.HYBRID:
            raise InternalError(f"a search by {answer.mode.value} is not what this row is about")
    return Timed(Figure.of(samples, 1e3), {"slowest": max(samples) * 1e3})
