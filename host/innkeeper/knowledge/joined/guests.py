"""Knowledge bases as the service `kb` offers them to guests."""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import trio

from innkeeper.errors import UsageError
from innkeeper.knowledge.embedding.interface import EmbeddingError
from innkeeper.knowledge.joined import rendering
from innkeeper.knowledge.joined.activating import Activating
from innkeeper.knowledge.joined.answers import assembled_value, result_value
from innkeeper.knowledge.joined.asking import TooOftenError
from innkeeper.knowledge.joined.assembling import Assembling
from innkeeper.knowledge.joined.bases import Bases
from innkeeper.knowledge.joined.finding import Finding
from innkeeper.knowledge.joined.home_bases import UnreadableError
from innkeeper.knowledge.joined.projects import project_bases
from innkeeper.knowledge.joined.reading import Reading
from innkeeper.knowledge.joined.requests import request_of
from innkeeper.knowledge.joined.writing import Writing
from innkeeper.plugins.runs import RunBase
from innkeeper.storage.knowledge_model import (
    AwayError,
    Change,
    Draft,
    Entry,
    Filters,
    Found,
    FullError,
    Head,
    Place,
    Query,
)
from innkeeper.storage.names import check_name

MOST_NUMBERS: Final = 1 << 16
"""Numbers of all vectors that one `embed` gives."""

_SHORT: Final = 500
"""Characters of a text whose macros are carried out in less than a millisecond, whatever they are."""

T = TypeVar("T")


class GuestBases:
    """Implements `bridge.knowledge.KnowledgeBases`.

    A base is there from its first entry on. What a guest writes is one step; where the base's operator wants to see it
    first it waits (`Library.proposals`).
    """

    def __init__(self, bases: Bases, activating: Activating, assembling: Assembling) -> None:
        """Args:
        bases: of the home.
        activating: activates them.
        assembling: puts prompts together.
        """
        self._bases = bases
        self._activating = activating
        self._assembling = assembling
        self._reading = Reading(bases)
        self._finding = Finding(bases, self._reading)
        self._writing = Writing(bases, self._reading)
        self._working = trio.CapacityLimiter(2)

    async def search(self, place: Place, query: Query, *, filters: Filters) -> Found:
        """As `KnowledgeBases.search`."""
        return await _said(lambda: self._finding.search(place, query, filters))

    async def get(self, place: Place, id: str) -> Entry:
        """As `KnowledgeBases.get`."""
        return await _said(lambda: self._reading.get(place, id))

    async def list(
        self, place: Place, *, after: str, limit: int, filters: Filters, ids: Sequence[str] | None = None
    ) -> builtins.list[Entry]:
        """As `KnowledgeBases.list`."""
        return await _said(lambda: self._reading.list(place, after=after, limit=limit, filters=filters, ids=ids))

    async def info(self, place: Place) -> Mapping[str, Any]:
        """As `KnowledgeBases.info`."""
        return await _said(lambda: self._reading.info(place))

    async def history(self, place: Place, id: str, *, before: int, limit: int) -> builtins.list[Change]:
        """As `KnowledgeBases.history`."""
        return await _said(lambda: self._reading.history(place, id, before=before, limit=limit))

    async def put(
        self, place: Place, id: str, draft: Draft, *, source: str, author: str, expect: int | None = None
    ) -> Head:
        """As `KnowledgeBases.put`."""
        return await _said(lambda: self._writing.put(place, id, draft, source, author, expect))

    async def delete(self, place: Place, id: str, *, author: str = "", expect: int | None = None) -> None:
        """As `KnowledgeBases.delete`."""
        await _said(lambda: self._writing.delete(place, id, author, expect))

    async def undo(self, place: Place, id: str, *, author: str, expect: int | None = None) -> Head | None:
        """As `KnowledgeBases.undo`."""
        return await _said(lambda: self._writing.undo(place, id, author, expect))

    async def activate(self, owner: str, bases: Sequence[str], request: Mapping[str, Any]) -> Mapping[str, Any]:
        """As `KnowledgeBases.activate`."""
        if request["session"]:
            check_name(request["session"], "session")
        places = [Place(owner, base, request["session"]) for base in dict.fromkeys(bases)]
        # A conversation may have a thousand messages.
        asked = await trio.to_thread.run_sync(request_of, request, limiter=self._working)
        result = await _said(
            lambda: self._activating.activate(
                places,
                asked,
                profile=request["profile"],
                settings=request["settings"],
                seconds=request["seconds"],
            )
        )
        # A trace may have thousands of lines.
        explained = frozenset(request["explain"])
        return await trio.to_thread.run_sync(result_value, result, request["trace"], explained, limiter=self._working)

    async def assemble(
        self, owner: str, request: Mapping[str, Any], allowed: Callable[[str], bool]
    ) -> Mapping[str, Any]:
        """As `KnowledgeBases.assemble`."""
        return assembled_value(await _said(lambda: self._assembling.assemble(owner, request, allowed)))

    async def render(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """As `KnowledgeBases.render`."""
        if len(request["template"]) <= _SHORT:
            return rendering.render(request)
        return await trio.to_thread.run_sync(rendering.render, request, limiter=self._working)

    async def embed(self, place: Place, texts: Sequence[str]) -> Mapping[str, Any]:
        """As `KnowledgeBases.embed`."""
        embedder, trouble = await _said(lambda: self._bases.embedder(place))
        if embedder is None and not trouble:
            raise AwayError(f"the knowledge base {place.base!r} has no model: innkeeper kb embed gives it one")
        if embedder is None:
            raise AwayError(trouble)
        identity = embedder.identity
        if len(texts) * identity.dimension > MOST_NUMBERS:
            most = max(MOST_NUMBERS // identity.dimension, 1)
            raise ValueError(f"texts: are more than the {most} of which the model's vectors fit into one answer")
        try:
            vectors = await embedder.embed(texts)
        except TooOftenError as error:
            raise FullError("vectors", error.most, str(error)) from None
        except EmbeddingError as error:
            raise AwayError(str(error)) from None
        return {
            "model": identity.key,
            "dimension": identity.dimension,
            "vectors": await trio.to_thread.run_sync(vectors.tolist, limiter=self._working),
        }

    async def project(self, owner: str, folder: Path) -> Mapping[str, RunBase]:
        """As `KnowledgeBases.project`."""
        found = await project_bases(self._bases, owner, folder)
        return {reference: RunBase(each.own, each.base) for reference, each in found.items()}

    async def serve(self) -> None:
        """As `KnowledgeBases.serve`."""
        await self._bases.serve()

    async def aclose(self) -> None:
        """As `KnowledgeBases.aclose`."""
        await self._bases.aclose()


async def _said(work: Callable[[], Awaitable[T]]) -> T:
    # A guest's mistake is a sentence to it, and no error of a command.
    try:
        return await work()
    except UnreadableError as error:
        raise AwayError(
            f"the knowledge base {error.base!r} cannot be read: `innkeeper kb list` says what is wrong with its file"
        ) from None
    except UsageError as error:
        raise ValueError(error.message) from None
