"""Implements what commands need of whatever keeps bases (`files.keeper.Keeper`), with the store: each change has a
history, and vectors lie beside the texts that they are of."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import trio

from innkeeper.knowledge.files.decoding import Progress
from innkeeper.knowledge.files.keeper import Changed, FileKeeper, changed_base
from innkeeper.knowledge.files.known import Known, decode_head
from innkeeper.knowledge.files.parsing import Read
from innkeeper.knowledge.files.reading import read_base, read_bounded
from innkeeper.knowledge.files.vectors import VectorSet
from innkeeper.knowledge.joined.bases import Bases
from innkeeper.knowledge.model.problems import KnowledgeError, Problem
from innkeeper.knowledge.retrieval.keeping import EmbeddingKeeper
from innkeeper.knowledge.retrieval.kept import identity_of
from innkeeper.knowledge.store import embedding
from innkeeper.knowledge.store.legs import text_digest
from innkeeper.knowledge.store.values import EDIT, IMPORT, Change, Origin, Vector
from innkeeper.storage.knowledge_model import FullError, NoSuchError, Place, VersionError


def _head(known: Known) -> dict[str, Any]:
    """What the file of a base says of itself; the entries are read by whoever brings both in step."""
    top, _ = decode_head(read_bounded(known.file, known.file.name), known.file.name)
    return top if top is not None else read_base(known.path, strict=False).base.document


_LARGE = 100
"""Entries from which on a change counts as an import in its history."""


def keeper_of(bases: Bases, owner: str) -> EmbeddingKeeper:
    """What commands change bases with.

    Args:
        bases: of the home.
        owner: whose they are.
    """
    return EmbeddingKeeper(StoreKeeper(bases, owner), bases.models)


async def vectors_of_base(bases: Bases, place: Place) -> list[VectorSet]:
    """The vectors of a base's entries under its own model: one set, or none."""
    live = await bases.base(place)
    model = identity_of(live.state.model)
    if model is None:
        return []
    found = await embedding.vectors_of(bases.library.store, place, live.state.model)
    rows = {id: data for id, data in found.items() if len(data) == 2 * model.dimension}
    if not rows:
        return []
    ids = list(rows)
    digests = [stored.digest if (stored := live.get(id)) is not None else "" for id in ids]
    vectors = np.frombuffer(b"".join(rows.values()), "<f2").astype(np.float32).reshape(len(ids), model.dimension)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return [VectorSet(live.state.model, ids, digests, (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32))]


class StoreKeeper:
    """A keeper of bases whose files and store are in step. It has no models; `keeper_of` adds them."""

    def __init__(self, bases: Bases, owner: str) -> None:
        self._bases = bases
        self._owner = owner
        self._files = FileKeeper()

    async def follow(self, known: Known) -> None:
        """As `Keeper.follow`."""
        await self._place(known)

    async def read(self, known: Known, *, progress: Progress | None = None) -> Read:
        """As `Keeper.read`."""
        await self._place(known)
        await self._bases.library.flush()
        return await self._files.read(known, progress=progress)

    async def change(
        self,
        known: Known,
        documents: Sequence[Mapping[str, Any]],
        gone: Collection[str] = (),
        *,
        info: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Changed:
        """As `Keeper.change`: one step, which `kb undo` takes back."""
        place = await self._place(known)
        base = (await self.read(known)).base
        made, changed = await trio.to_thread.run_sync(changed_base, base, documents, gone, info)
        before = {item.entry.id: item.document for item in base.items}
        steps = [
            Change(item.entry.id, item.document) for item in made.items if before.get(item.entry.id) != item.document
        ]
        there = {item.entry.id for item in made.items}
        steps += [Change(id, None) for id in before if id not in there]
        new_info = made.document if made.document != base.document else None
        if steps or new_info is not None:
            origin = Origin(IMPORT if len(steps) > _LARGE else EDIT)
            try:
                await self._bases.change(place, steps, origin, info=new_info)
            except (NoSuchError, VersionError, FullError, ValueError) as error:
                raise KnowledgeError(str(error), source=known.label) from None
            await self._bases.library.flush()
        if progress is not None:
            progress(len(documents), len(documents))
        return changed

    async def vectors(self, known: Known) -> list[VectorSet]:
        """As `Keeper.vectors`: those of the base's model."""
        return await vectors_of_base(self._bases, await self._place(known))

    async def keep_vectors(self, known: Known, found: VectorSet) -> None:
        """As `Keeper.keep_vectors`: those whose texts the base has."""
        place = await self._place(known)
        live = await self._bases.base(place)
        legs = self._bases.library.store.legs
        kept: dict[str, Vector] = {}
        for id, digest, row in zip(found.ids, found.digests, found.vectors, strict=True):
            item = live.item(id)
            if item is None:
                continue
            own = text_digest(legs.text(item.entry))
            # What does not say which text it is of came with the base, and is believed to be of this one.
            if digest in ("", own) and row.any():
                kept[own] = Vector(found.model, len(row), row.astype("<f2").tobytes())
        try:
            await embedding.keep(self._bases.library.store, place, kept)
        except ValueError as error:
            raise KnowledgeError(str(error), source=known.label) from None
        model = found.model if live.state.model != found.model else None
        await self._bases.library.embedded(place, model)
        await self._bases.library.flush()

    async def models(self) -> list[str]:
        """As `Keeper.models`: none."""
        return []

    async def model_key(self, name: str) -> str:
        """As `Keeper.model_key`: there is none."""
        return ""

    async def embed(self, known: Known, model: str, *, progress: Progress | None = None) -> int:
        """As `Keeper.embed`: there are no models here."""
        raise KnowledgeError(f"cannot be embedded with {model[:100]!r}: there are no models here", source=known.label)

    async def _place(self, known: Known) -> Place:
        place = Place(self._owner, known.id)
        try:
            state = await self._bases.library.store.state(place)
            if state.file == str(known.file):
                return await self._read_once(place, known)
        except NoSuchError:
            pass
        except ValueError as error:
            raise KnowledgeError(f"cannot be kept: {error}", source=known.label) from None
        try:
            await self._bases.bind(place, known.file, await trio.to_thread.run_sync(_head, known))
        except (ValueError, FullError) as error:
            raise KnowledgeError(f"cannot be kept: {error}", source=known.label) from None
        return await self._read_once(place, known)

    async def _read_once(self, place: Place, known: Known) -> Place:
        state = (await self._bases.base(place)).state
        if state.refused and not state.digest and not state.entries:
            # There is no good state before the mistake.
            raise KnowledgeError([Problem("", note) for note in state.note[1:] or state.note], source=known.label)
        if not state.digest and not state.entries and (notes := self._bases.library.notes(place)):
            raise KnowledgeError([Problem("", note) for note in notes], source=known.label)
        return place
