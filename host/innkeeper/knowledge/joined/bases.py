"""The bases of a home: those of its store, and those that lie in its folders and are taken up when somebody asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import trio

from innkeeper.knowledge.embedding.interface import Embedder, EmbeddingError
from innkeeper.knowledge.embedding.registry import Models
from innkeeper.knowledge.files.known import Known
from innkeeper.knowledge.files.registry import Registry
from innkeeper.knowledge.joined.items_index import ITEMS, ItemsIndex, Ready
from innkeeper.knowledge.library import Library
from innkeeper.knowledge.live.base import LiveBase
from innkeeper.knowledge.model.entry import read_entry
from innkeeper.knowledge.model.problems import KnowledgeError
from innkeeper.knowledge.opening import SEARCH
from innkeeper.knowledge.retrieval import upkeep
from innkeeper.knowledge.retrieval.kept import KeptSearch, identity_of
from innkeeper.knowledge.retrieval.retriever import Retriever
from innkeeper.knowledge.store import embedding
from innkeeper.knowledge.store.values import Applied, Change, Origin, Vector
from innkeeper.storage.knowledge_model import NoSuchError, Place

PATIENCE: Final = 5.0
"""Seconds that a model may take for what is written; what takes longer is written without a vector, which
`innkeeper kb embed` makes later."""

_FEW: Final = 64
"""Entries of one step that get their vectors at once. What is more is embedded by whoever brings it."""

_FILLED: Final = 2000
"""Entries without a vector that get one by themselves."""

_KNOWN: Final = 1000
"""Bases of which is remembered that nothing can be filled."""

_ABSENT: Final = 1.0
"""Seconds for which a base that is in no folder is not looked for again."""


class Bases:
    """The knowledge bases of a home. Used from one loop of trio.

    Attributes:
        library: keeps them.
        models: that make vectors.
        registry: finds those that lie in folders, or None.
    """

    def __init__(self, library: Library, models: Models, registry: Registry | None) -> None:
        """Args:
        library: of `opening.open_library`.
        models: that make vectors.
        registry: of the home; None: only what the store has is there.
        """
        self.library = library
        self.models = models
        self.registry = registry
        self._absent: dict[Place, float] = {}
        self._filled: dict[Place, tuple[float, int, str, int]] = {}
        self._filling = trio.Lock()
        self._making = trio.CapacityLimiter(1)
        self._looking = trio.CapacityLimiter(1)
        self._keeping = trio.CapacityLimiter(1)

    async def base(self, place: Place) -> LiveBase:
        """A base as it is now.

        Raises:
            NoSuchError: it is neither in the store nor in a folder.
            KnowledgeError: its file has mistakes, and there is no state before them.
        """
        plain = Place(place.owner, place.base)
        try:
            return await self.library.base(plain)
        except NoSuchError:
            if not await self._taken_up(plain):
                raise
        return await self.library.base(plain)

    async def search(self, place: Place) -> KeptSearch:
        """The search of a base; raises as `base`. What an author wrote into its file since has vectors, too, where the
        base's model is the one in the package."""
        plain = Place(place.owner, place.base)
        live = await self._with_key(plain, await self.base(place))
        index = await self.library.index(plain, SEARCH)
        assert isinstance(index, KeptSearch)
        state = _vectors_of(live)
        if self._filled.get(plain) != state:
            # Who asks meanwhile waits for the vectors, too.
            async with self._filling:
                if self._filled.get(plain) != state:
                    if index.retriever.embedded < len(live):
                        await self._fill(plain, live)
                    if len(self._filled) >= _KNOWN:
                        self._filled.clear()
                    self._filled[plain] = state
            index = await self.library.index(plain, SEARCH)
            assert isinstance(index, KeptSearch)
        return index

    async def adopt(self, place: Place, model: str) -> None:
        """Searches a base with a model, unless it names one itself, or the model is not here.

        Args:
            model: name, id or key.
        """
        live = await self.base(place)
        if not model or live.state.info.get("embedding_model_id"):
            return
        embedder, _ = await self.opened(model)
        if embedder is not None and live.state.model != embedder.identity.key:
            await self.library.adopt_model(place, embedder.identity.key)

    async def _with_key(self, place: Place, live: LiveBase) -> LiveBase:
        # Somebody may have written the model's id alone: what is here by that name is meant.
        said = live.state.model
        if not said or identity_of(said) is not None:
            return live
        embedder, _ = await self.opened(said)
        if embedder is None:
            return live
        await self.library.adopt_model(place, embedder.identity.key)
        return await self.library.base(place)

    async def _fill(self, place: Place, live: LiveBase) -> None:
        """Makes vectors that are missing, where that costs nothing and takes less than a second."""
        name = live.state.model
        if not any(model.kind == "offline" and name.startswith(model.id) for model in self.models.all):
            return
        embedder, _ = await self.opened(name)
        if embedder is None:
            return
        key = embedder.identity.key
        missing = await embedding.missing(self.library.store, place, key, most=_FILLED + 1)
        if not 0 < len(missing) <= _FILLED:
            return
        made: dict[str, Vector] = {}
        for at in range(0, len(missing), _FEW):
            part = missing[at : at + _FEW]
            try:
                vectors = await embedder.embed([each.text for each in part])
            except EmbeddingError:
                return
            for each, vector in zip(part, vectors, strict=True):
                if vector.any():
                    made[each.digest] = Vector(key, len(vector), vector.astype("<f2").tobytes())
        if made:
            await embedding.keep(self.library.store, place, made)
            await self.library.embedded(place)

    async def ready(self, place: Place) -> Ready:
        """The entries of a base, ready to be activated; raises as `base`."""
        await self.base(place)
        index = await self.library.index(Place(place.owner, place.base), ITEMS)
        assert isinstance(index, ItemsIndex)
        ready = index.ready
        if ready is None:
            ready = await trio.to_thread.run_sync(index.made, limiter=self._making)
        return ready

    async def follow(self, place: Place, known: Known, info: Mapping[str, Any]) -> None:
        """Binds a base to its file, from now on or again.

        Args:
            known: where the file is.
            info: the top level of the file, for a base that the store does not have.

        Raises:
            KnowledgeError: the store has a base with this id that is bound to another file.
        """
        await self.bind(place, known.file, info)

    async def bind(self, place: Place, file: Path, info: Mapping[str, Any]) -> None:
        """As `follow`, for a file."""
        try:
            state = await self.library.store.state(place)
        except NoSuchError:
            state = None
        if state is not None and state.file not in ("", str(file)) and await _is_there(Path(state.file)):
            raise KnowledgeError(
                f"the knowledge base {place.base!r} is {Path(state.file).parent.name}/{Path(state.file).name} already, "
                f"and {file.parent.name}/{file.name} has the same id: give one of them another kb_id"
            )
        await self.library.create(place, info, file=str(file))
        self._absent.pop(place, None)

    async def change(
        self,
        place: Place,
        changes: Sequence[Change],
        origin: Origin,
        *,
        info: Mapping[str, Any] | None = None,
    ) -> Applied:
        """Takes one step, with the vectors of what is new where there are few changes; see `Library.change`."""
        return await self.library.change(place, await self._with_vectors(place, changes), origin, info=info)

    async def embedder(self, place: Place) -> tuple[Embedder | None, str]:
        """The model of a base's vectors that is ready, or None and why there is none ("": the base has no model)."""
        live = await self.base(place)
        return await self.opened(live.state.model)

    async def opened(self, model: str) -> tuple[Embedder | None, str]:
        """The model with this key that is ready, or None and why there is none."""
        if not model:
            return None, ""
        try:
            return (await self.models.choose(base=model)).embedder, ""
        except EmbeddingError as error:
            return None, str(error)

    async def _with_vectors(self, place: Place, changes: Sequence[Change]) -> Sequence[Change]:
        if len(changes) > _FEW or all(change.document is None or change.vector for change in changes):
            return changes
        try:
            live = await self.library.base(place)
        except NoSuchError:
            return changes
        embedder, _ = await self.opened(live.state.model)
        if embedder is None:
            return changes
        texts: dict[int, str] = {}
        for at, change in enumerate(changes):
            if change.document is not None and change.vector is None:
                entry, _ = read_entry(change.document)
                if entry is not None:
                    texts[at] = self.library.store.legs.text(entry)
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

    async def _taken_up(self, place: Place) -> bool:
        if self.registry is None or trio.current_time() < self._absent.get(place, 0.0):
            return False
        async with self._looking:
            found = await trio.to_thread.run_sync(self._find, place.base)
        if found is None:
            if len(self._absent) > 1000:
                self._absent.clear()
            self._absent[place] = trio.current_time() + _ABSENT
            return False
        known, info = found
        await self.follow(place, known, info)
        return True

    def _find(self, base: str) -> tuple[Known, Mapping[str, Any]] | None:
        from innkeeper.knowledge.files.reading import read_base

        assert self.registry is not None
        try:
            known = [each for each in self.registry.bases() if each.id == base and not each.problem]
        except KnowledgeError:
            return None
        if len(known) != 1 or known[0].file.suffix not in (".json", ".ckb"):
            return None
        return known[0], read_base(known[0].path).base.document

    async def serve(self) -> None:
        """Writes changes to files and keeps searches quick while the host runs, until it is cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.library.serve)
            nursery.start_soon(upkeep.serve, self._retrievers, self._keeping)

    def _retrievers(self) -> list[Retriever]:
        return [index.retriever for index in self.library.indexes(SEARCH) if isinstance(index, KeptSearch)]

    async def aclose(self) -> None:
        """As `Library.aclose`."""
        await self.library.aclose()


def with_vector(change: Change, vector: Vector | None) -> Change:
    """The change with the vector of its text, where there is one."""
    if vector is None:
        return change
    return Change(change.id, change.document, change.expect, change.source, change.position, vector)


def _vectors_of(live: LiveBase) -> tuple[float, int, str, int]:
    """Changes whenever an entry may have lost or got a vector."""
    state = live.state
    return state.created, state.revision, state.model, state.embedded


async def _is_there(path: Path) -> bool:
    return await trio.to_thread.run_sync(path.is_file)
