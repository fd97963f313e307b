"""The bases of a home: those of its store, and those that lie in its folders and are taken up when somebody asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from innkeeper.knowledge.embedding.interface import Embedder, EmbeddingError
from innkeeper.knowledge.embedding.registry import Models
from innkeeper.knowledge.files.known import Known
from innkeeper.knowledge.files.registry import Registry
from innkeeper.knowledge.joined.asking import Asking
from innkeeper.knowledge.joined.filling import fill, wanting, with_vectors
from innkeeper.knowledge.joined.home_bases import HomeBases
from innkeeper.knowledge.joined.items_index import ITEMS, ItemsIndex, Ready
from innkeeper.knowledge.joined.jobs import Jobs
from innkeeper.knowledge.library import Library
from innkeeper.knowledge.live.base import LiveBase
from innkeeper.knowledge.model.problems import KnowledgeError
from innkeeper.knowledge.opening import SEARCH
from innkeeper.knowledge.retrieval import upkeep
from innkeeper.knowledge.retrieval.kept import KeptSearch, identity_of
from innkeeper.knowledge.retrieval.retriever import Retriever
from innkeeper.knowledge.store.values import Applied, Change, Origin
from innkeeper.storage.knowledge_model import NoSuchError, Place
from innkeeper.storage.run_model import USER

_KNOWN: Final = 1000
"""Bases of which it is known that their vectors are there."""

_ABSENT: Final = 1.0
"""Seconds for which a base that is in no folder is not looked for again."""


class Bases:
    """The knowledge bases of a home. Used from one loop of trio.

    Attributes:
        library: keeps them.
        models: that make vectors.
        registry: finds those that lie in folders, or None.
    """

    def __init__(
        self, library: Library, models: Models, registry: Registry | None, asking: Asking, *, served: bool = False
    ) -> None:
        """Args:
        library: of `opening.open_library`.
        models: that make vectors.
        registry: of the home; None: only what the store has is there.
        asking: asks the models.
        served: whether somebody runs `serve`: then what takes long goes on beside whoever wants it.
        """
        self.library = library
        self.models = models
        self.registry = registry
        self._absent: dict[Place, float] = {}
        self._asking = asking
        self._filled: dict[Place, tuple[float, int, str, int]] = {}
        self._keeping = trio.CapacityLimiter(1)
        self._jobs = Jobs(served)
        self._making = trio.CapacityLimiter(1)
        self._home = None if registry is None else HomeBases(registry)

    async def base(self, place: Place) -> LiveBase:
        """A base as it is now.

        Raises:
            NoSuchError: it is neither in the store nor in a folder.
            KnowledgeError: its file has mistakes, and there is no state before them.
        """
        plain = Place(place.owner, place.base)
        try:
            live = await self.library.base(plain)
        except NoSuchError:
            if not await self._take_up(plain):
                raise
        else:
            state = live.state
            if not state.file or state.digest or state.refused:
                return live
            # Somebody is taking it up, or died of it: what is there now is not the base.
            first = partial(self.library.first_look, plain)
            await self._jobs.done(("file", plain), first, f"the base {place.base!r}")
        return await self.library.base(plain)

    async def search(self, place: Place) -> KeptSearch:
        """The search of a base; raises as `base`. What an author wrote into its file since has vectors, too, where the
        base's model is the one in the package."""
        plain = Place(place.owner, place.base)
        live = await self.base(plain)
        index = live.indexes.get(SEARCH)
        if isinstance(index, KeptSearch) and not self._lacks(plain, live, index):
            index = await self.library.index(plain, SEARCH)
            assert isinstance(index, KeptSearch)
            return index
        return await self._jobs.done(("search", plain), lambda: self._search(plain), f"the base {place.base!r}")

    def _lacks(self, place: Place, live: LiveBase, index: KeptSearch) -> bool:
        # Counting vectors takes a look at each: once for each state of the base.
        stamp = _as_of(live)
        if self._filled.get(place) == stamp:
            return False
        if not live.state.model or index.retriever.embedded < len(live):
            return True
        self._noted(place, stamp)
        return False

    def _noted(self, place: Place, stamp: tuple[float, int, str, int]) -> None:
        if len(self._filled) >= _KNOWN:
            self._filled.clear()
        self._filled[place] = stamp

    async def _search(self, place: Place) -> KeptSearch:
        live = await self._with_key(place, await self.base(place))
        index = await self.library.index(place, SEARCH)
        assert isinstance(index, KeptSearch)
        if index.retriever.embedded < len(live):
            await self._fill(place, live)
            index = await self.library.index(place, SEARCH)
            assert isinstance(index, KeptSearch)
        # Also where nothing could be done: not again before something changes.
        self._noted(place, _as_of(await self.library.base(place)))
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
        # Who says no model has the user's, where that costs nothing. Somebody may have written the model's id alone:
        # what is here by that name is meant.
        said = live.state.model
        if not said:
            key = "" if live.state.read_only else await self._asking.usual()
        elif identity_of(said) is None:
            embedder, _ = await self.opened(said)
            key = "" if embedder is None else embedder.identity.key
        else:
            return live
        if not key:
            return live
        await self.library.adopt_model(place, key)
        return await self.library.base(place)

    async def _fill(self, place: Place, live: LiveBase) -> None:
        # What costs nothing is made for whoever searches.
        if live.state.model and live.state.model == await self._asking.usual():
            embedder, _ = await self.opened(live.state.model)
            if embedder is not None:
                await fill(self.library, place, embedder)

    async def ready(self, place: Place) -> Ready:
        """The entries of a base, ready to be activated; raises as `base`."""
        plain = Place(place.owner, place.base)
        index = (await self.base(plain)).indexes.get(ITEMS)
        ready = index.ready if isinstance(index, ItemsIndex) else None
        if ready is not None:
            return ready

        async def made() -> Ready:
            index = await self.library.index(plain, ITEMS)
            assert isinstance(index, ItemsIndex)
            ready = index.ready
            return ready if ready is not None else await trio.to_thread.run_sync(index.made, limiter=self._making)

        return await self._jobs.done(("ready", plain), made, f"the base {place.base!r}")

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
        if wanting(changes):
            try:
                embedder, _ = await self.embedder(place)
            except NoSuchError:
                embedder = None
            if embedder is not None:
                changes = await with_vectors(self.library, changes, embedder)
        return await self.library.change(place, changes, origin, info=info)

    async def embedder(self, place: Place) -> tuple[Embedder | None, str]:
        """The model of a base's vectors that is ready, or None and why there is none ("": the base has no model)."""
        plain = Place(place.owner, place.base)
        live = await self._with_key(plain, await self.base(plain))
        return await self.opened(live.state.model, plain)

    async def usual_model(self) -> str:
        """The key of the user's model, where it costs nothing to ask it; else ""."""
        return await self._asking.usual()

    async def opened(self, model: str, whose: Place | None = None) -> tuple[Embedder | None, str]:
        """A model that is ready, or None and why there is none.

        Args:
            model: its key, id or name; "": none is wanted.
            whose: the base that asks.
        """
        if not model:
            return None, ""
        try:
            return await self._asking.embedder(model, whose), ""
        except EmbeddingError as error:
            return None, str(error)

    async def _take_up(self, place: Place) -> bool:
        # The home's folder is the local user's: what others' plugins write never reaches a file there, nor do they
        # read one.
        if self._home is None or place.owner != USER or trio.current_time() < self._absent.get(place, 0.0):
            return False
        # A large one is read for longer than whoever wants it first may wait.
        return await self._jobs.done(("file", place), lambda: self._taken_up(place), f"the base {place.base!r}")

    async def _taken_up(self, place: Place) -> bool:
        assert self._home is not None
        found = await self._home.find(place.base)
        if found is None:
            if len(self._absent) > 1000:
                self._absent.clear()
            self._absent[place] = trio.current_time() + _ABSENT
            return False
        known, info = found
        await self.follow(place, known, info)
        return True

    async def serve(self) -> None:
        """Writes changes to files and keeps searches quick while the host runs, until it is cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._jobs.serve)
            nursery.start_soon(upkeep.serve, self._retrievers, self._keeping)
            await self.library.serve()

    def _retrievers(self) -> list[Retriever]:
        return [index.retriever for index in self.library.indexes(SEARCH) if isinstance(index, KeptSearch)]

    async def aclose(self) -> None:
        """As `Library.aclose`."""
        await self.library.aclose()


def _as_of(live: LiveBase) -> tuple[float, int, str, int]:
    """Changes whenever an entry may have lost or got a vector."""
    state = live.state
    return state.created, state.revision, state.model, state.embedded


async def _is_there(path: Path) -> bool:
    return await trio.to_thread.run_sync(path.is_file)
