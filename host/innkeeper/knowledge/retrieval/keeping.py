"""Makes the vectors of a base that a keeper keeps, by and by: who is stopped goes on where it ended."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
import trio

from innkeeper.knowledge.embedding.interface import Embedder, EmbeddingError
from innkeeper.knowledge.embedding.registry import Models
from innkeeper.knowledge.embedding.texts import embedding_text
from innkeeper.knowledge.files.decoding import Progress
from innkeeper.knowledge.files.keeper import Changed, Keeper
from innkeeper.knowledge.files.known import Known
from innkeeper.knowledge.files.parsing import Read
from innkeeper.knowledge.files.vectors import VectorSet
from innkeeper.knowledge.model.problems import KnowledgeError
from innkeeper.knowledge.retrieval.kept import with_calibration
from innkeeper.knowledge.retrieval.probing import calibrated
from innkeeper.knowledge.retrieval.thresholds import THRESHOLDS, thresholds_of
from innkeeper.knowledge.retrieval.vectors import Floats

_BATCH: Final = 256
_EVERY: Final = 30.0
"""Seconds after which what was made is kept: that writes all vectors of the base."""

_SAMPLE = 4000


class EmbeddingKeeper:
    """A keeper that has models."""

    def __init__(self, inner: Keeper, models: Models) -> None:
        """Args:
        inner: keeps entries and vectors.
        models: make vectors.
        """
        self._inner = inner
        self._models = models

    async def follow(self, known: Known) -> None:
        await self._inner.follow(known)

    async def read(self, known: Known, *, progress: Progress | None = None) -> Read:
        return await self._inner.read(known, progress=progress)

    async def change(
        self,
        known: Known,
        documents: Sequence[Mapping[str, Any]],
        gone: Collection[str] = (),
        *,
        info: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Changed:
        return await self._inner.change(known, documents, gone, info=info, progress=progress)

    async def vectors(self, known: Known) -> list[VectorSet]:
        return await self._inner.vectors(known)

    async def keep_vectors(self, known: Known, found: VectorSet) -> None:
        await self._inner.keep_vectors(known, found)

    async def models(self) -> list[str]:
        """Keys of the models that can be used now."""
        found = []
        for each in self._models.all:
            try:
                found.append((await self._models.open(each.name)).identity.key)
            except EmbeddingError:
                continue
        return found

    async def model_key(self, name: str) -> str:
        try:
            return (await self._models.open(name)).identity.key
        except EmbeddingError:
            return ""

    async def embed(self, known: Known, model: str, *, progress: Progress | None = None) -> int:
        """Makes the vectors that are missing, records the model as the base's with what its cosines mean, and gives
        how many were made (int). What was made when it is cancelled or fails is kept.

        Raises:
            KnowledgeError: there is no such model, or it failed; the message says how many are kept.
        """
        try:
            embedder = await self._models.open(model)
        except EmbeddingError as error:
            raise KnowledgeError(str(error), source=known.label) from None
        base = (await self._inner.read(known)).base
        texts = {item.entry.id: embedding_text(item.entry) for item in base.items}
        digests = await trio.to_thread.run_sync(lambda: {id: text_digest(text) for id, text in texts.items()})
        made = current(await self._inner.vectors(known), embedder.identity.key, digests)
        missing = [id for id, text in texts.items() if id not in made and text]
        count = await self._fill(known, embedder, missing, texts, digests, made, progress)
        try:
            ids = list(made)[:: max(len(made) // _SAMPLE, 1)]
            rows = np.array([made[id] for id in ids], np.float32).reshape(len(ids), embedder.identity.dimension)
            calibration = await calibrated(embedder, [texts[id] for id in ids], rows)
        except EmbeddingError as error:
            raise KnowledgeError(f"has its vectors, and was not calibrated: {error}", source=known.label) from None
        info = {"embedding_model_id": embedder.identity.key}
        extensions = with_calibration(base.document, calibration)["kb_extensions"]
        thresholds = thresholds_of(base.document, embedder.identity.key)
        if thresholds is not None:
            extensions = {**extensions, THRESHOLDS: thresholds}
        if base.document.get("kb_extensions") != extensions or base.info.embedding_model_id != embedder.identity.key:
            await self._inner.change(known, (), info={**info, "kb_extensions": extensions})
        return count

    async def _fill(
        self,
        known: Known,
        embedder: Embedder,
        missing: Sequence[str],
        texts: Mapping[str, str],
        digests: Mapping[str, str],
        made: dict[str, Floats],
        progress: Progress | None,
    ) -> int:
        count = kept = 0
        since = trio.current_time()
        try:
            for at in range(0, len(missing), _BATCH):
                part = missing[at : at + _BATCH]
                vectors = await embedder.embed([texts[id] for id in part])
                # A vector of zeros says nothing: such an entry has none.
                made.update((id, vector) for id, vector in zip(part, vectors, strict=True) if vector.any())
                count += len(part)
                if progress is not None:
                    progress(count, len(missing))
                # The first ones at once: who cannot keep them says so before hours of work.
                if kept == 0 or trio.current_time() - since > _EVERY:
                    await self._keep(known, embedder, digests, made)
                    kept, since = count, trio.current_time()
        except EmbeddingError as error:
            raise KnowledgeError(
                f"{error}; {count:,} of {len(missing):,} vectors were made and are kept: the same command goes on",
                source=known.label,
            ) from None
        finally:
            if count > kept:
                with trio.CancelScope(shield=True):
                    await self._keep(known, embedder, digests, made)
        return count

    async def _keep(
        self, known: Known, embedder: Embedder, digests: Mapping[str, str], made: Mapping[str, Floats]
    ) -> None:
        if made:
            ids = list(made)
            rows = np.array([made[id] for id in ids], np.float32)
            found = VectorSet(embedder.identity.key, ids, [digests[id] for id in ids], rows)
            await self._inner.keep_vectors(known, found)


def text_digest(text: str) -> str:
    """sha256 of a text, hexadecimal (str): of which text a vector is."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def current(sets: Sequence[VectorSet], model: str, digests: Mapping[str, str]) -> dict[str, Floats]:
    """The vectors of a model whose texts are still the same, by the id of their entries.

    Args:
        sets: of the base.
        model: `ModelIdentity.key`.
        digests: of the entries' texts, by id.
    """
    return {
        id: row
        for found in sets
        if found.model == model
        for id, digest, row in zip(found.ids, found.digests, found.vectors, strict=True)
        if digests.get(id) == digest
    }
