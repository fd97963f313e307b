"""Row: from a changed entry to a search that finds it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import trio

from innkeeper.bench.knowledge.libraries import IMPORTED, PLACE, SEARCH, SearchIndex, change_of, open_library
from innkeeper.bench.knowledge.rows import ENTRIES
from innkeeper.bench.knowledge.timed import Timed
from innkeeper.bench.measured import Figure
from innkeeper.bench.timing import rounds_within
from innkeeper.errors import InternalError
from innkeeper.knowledge.bench.clusters import clustered, near
from innkeeper.knowledge.bench.synthetic import Writer
from innkeeper.knowledge.embedding.interface import ModelIdentity
from innkeeper.knowledge.store.values import Change, Origin

DIMENSION = 256
_SEED = 30
_PIECE = 5000
_MODEL = ModelIdentity("made-up", "", DIMENSION)


async def measure(names: Sequence[str], folder: Path, entries: int = ENTRIES, rounds: int = 100) -> dict[str, Timed]:
    """The row of this module.

    Args:
        names: it.
        folder: for the database.
        entries: of the base.
        rounds: how many changes at the most.
    """
    writer = Writer(_SEED)
    vectors = clustered(entries, DIMENSION, _SEED)
    documents = writer.documents(entries)

    def piece(at: int) -> list[Change]:
        size = min(_PIECE, entries - at)
        return [change_of(next(documents), vectors[at + each], _MODEL.key) for each in range(size)]

    samples = []
    async with open_library(folder, _MODEL) as library:
        await library.create(PLACE, {"kb_id": PLACE.base, "embedding_model_id": _MODEL.key})
        for at in range(0, entries, _PIECE):
            await library.change(PLACE, await trio.to_thread.run_sync(piece, at), IMPORTED)
        await library.embedded(PLACE, _MODEL.key)
        index = await library.index(PLACE, SEARCH)
        changed = list(writer.documents(rounds))
        made = near(vectors, rounds, _SEED + 1)
        for at, _ in enumerate(rounds_within(rounds, 30.0)):
            document, name = changed[at] | {"id": f"made-{at * (entries // rounds)}"}, changed[at]["displayName"]
            before = time.perf_counter()
            await library.change(PLACE, [change_of(document, made[at], _MODEL.key)], Origin())
            index = await library.index(PLACE, SEARCH)
            assert isinstance(index, SearchIndex)
            found = index.retriever.search(name, 10, vector=made[at])
            samples.append(time.perf_counter() - before)
            if document["id"] not in {hit.id for hit in found.hits}:
                raise InternalError("a change was not found after it was made")
        held = len(await library.base(PLACE))
    figure = Figure.of(samples, 1e3)
    return {name: Timed(figure, {"entries": held, "slowest": max(samples) * 1e3}) for name in names}
