"""Vectors of entries that have none: where they cost nothing they are made for whoever searches, and those of the new
texts for whoever changes a few entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from innkeeper.knowledge.embedding.interface import Embedder, EmbeddingError
from innkeeper.knowledge.joined.asking import PATIENCE
from innkeeper.knowledge.library import Library
from innkeeper.knowledge.model.entry import read_entry
from innkeeper.knowledge.store import embedding
from innkeeper.knowledge.store.values import Change, Vector
from innkeeper.storage.knowledge_model import Place

FEW: Final = 64
"""Entries of one step that get their vectors at once. What is more is embedded by whoever brings it."""

_FILLED: Final = 2000
"""Entries without a vector that get one by themselves."""


async def fill(library: Library, place: Place, embedder: Embedder) -> None:
    """Makes the vectors that a base lacks, if they are few enough to be made in a second.

    Args:
        library: has the base.
        place: of it.
        embedder: the base's model.
    """
    key = embedder.identity.key
    missing = await embedding.missing(library.store, place, key, most=_FILLED + 1)
    if not 0 < len(missing) <= _FILLED:
        return
    made: dict[str, Vector] = {}
    for at in range(0, len(missing), FEW):
        part = missing[at : at + FEW]
        try:
            vectors = await embedder.embed([each.text for each in part])
        except EmbeddingError:
            return
        for each, vector in zip(part, vectors, strict=True):
            if vector.any():
                made[each.digest] = Vector(key, len(vector), vector.astype("<f2").tobytes())
    if made:
        await embedding.keep(library.store, place, made)
        await library.embedded(place)


def wanting(changes: Sequence[Change]) -> bool:
    """Whether changes are few, and one of them has a text without a vector."""
    return len(changes) <= FEW and any(change.document is not None and change.vector is None for change in changes)


async def with_vectors(library: Library, changes: Sequence[Change], embedder: Embedder) -> Sequence[Change]:
    """Changes with the vectors of their texts; as they are where the model fails or takes longer than `PATIENCE`:
    `innkeeper kb embed` makes them later.

    Args:
        library: of the base.
        changes: for which `wanting` holds.
        embedder: the base's model.
    """
    texts: dict[int, str] = {}
    for at, change in enumerate(changes):
        if change.document is not None and change.vector is None:
            entry, _ = read_entry(change.document)
            if entry is not None:
                texts[at] = library.store.legs.text(entry)
    made: dict[int, Vector] = {}
    with trio.move_on_after(PATIENCE):
        try:
            vectors = await embedder.embed(list(texts.values()))
        except EmbeddingError:
            return changes
        for at, vector in zip(texts, vectors, strict=True):
            if vector.any():
                made[at] = Vector(embedder.identity.key, len(vector), vector.astype("<f2").tobytes())
    return [with_vector(change, made.get(at)) for at, change in enumerate(changes)]


def with_vector(change: Change, vector: Vector | None) -> Change:
    """The change with the vector of its text, where there is one."""
    if vector is None:
        return change
    return Change(change.id, change.document, change.expect, change.source, change.position, vector)
