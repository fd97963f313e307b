"""Searches of a home's bases, as a session sees them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import trio

from innkeeper.knowledge.embedding.interface import Embedder
from innkeeper.knowledge.joined.asking import PATIENCE
from innkeeper.knowledge.joined.bases import Bases
from innkeeper.knowledge.joined.drafts import entry_of
from innkeeper.knowledge.joined.reading import Reading
from innkeeper.knowledge.joined.session_search import SessionSearch
from innkeeper.knowledge.retrieval.interface import MOST_HITS, Answer, Mode
from innkeeper.knowledge.retrieval.interface import Filters as Wanted
from innkeeper.knowledge.retrieval.interface import Hit as Ranked
from innkeeper.knowledge.retrieval.retriever import Retriever
from innkeeper.knowledge.retrieval.searching import INLINE, Searching
from innkeeper.knowledge.store.values import Stored
from innkeeper.storage.knowledge_model import MOST_HITS as MOST_GIVEN
from innkeeper.storage.knowledge_model import (
    MOST_QUERY,
    Filters,
    Found,
    Hit,
    Match,
    Place,
    Query,
)
from innkeeper.storage.names import check_name

_KEPT: Final = 64
_SHOWN: Final = 8

_SOON: Final = 64 << 10
"""Characters of documents that are taken apart in a fraction of a millisecond."""

_FIELDS: Final = {"name": "title", "keywords": "keyword", "content": "content"}
_ORDER: Final = ("keyword", "title", "content")


class Finding:
    """Searches bases."""

    def __init__(self, bases: Bases, reading: Reading) -> None:
        """Args:
        bases: of the home.
        reading: of them.
        """
        self._bases = bases
        self._reading = reading
        self._searching: OrderedDict[Place, tuple[Searching, Embedder | None, str]] = OrderedDict()
        self._working = trio.CapacityLimiter(2)
        self._sessions = SessionSearch(self._working)

    async def search(self, place: Place, query: Query, filters: Filters) -> Found:
        """The entries that answer a query best.

        Raises:
            NoSuchError: there is no such base.
            ValueError: the query or a filter is out of bounds.
        """
        if len(query.text) > MOST_QUERY or not 1 <= query.k <= MOST_GIVEN:
            raise ValueError(f"a query has at most {MOST_QUERY} characters, and gives 1 to {MOST_GIVEN} entries")
        if filters.source is not None:
            check_name(filters.source, "source")
        overlay = await self._reading.overlay(place)
        live = await self._bases.base(place)
        mode = Mode(query.mode)
        wanted = Wanted(
            scope=filters.tags,
            types=filters.types,
            sources=() if filters.source is None else (filters.source,),
            enabled=None if filters.disabled else True,
        )
        answer = await self._answer(place, query, mode, wanted, len(overlay))
        # What a session says of an entry takes the place of what the base says, or takes the entry away.
        below = [
            (ranked, stored)
            for ranked in answer.hits
            if ranked.id not in overlay and (stored := live.get(ranked.id)) is not None
        ]
        notes = [*self._bases.library.notes(Place(place.owner, place.base)), *answer.notes]
        above: list[tuple[Ranked, Stored]] = []
        if overlay and mode is not Mode.SEMANTIC:
            # They are ranked among themselves: none of them can fill more than half of the places.
            most = -(-query.k // 2)
            above = await self._sessions.search(place, live, overlay, query.text, most, wanted)
        if overlay:
            notes.append("what this session says itself is searched by its words alone, and goes first")
        first = below[0][0].score if below else 0.0
        ranked_all = [(replace(ranked, score=first + ranked.score), stored) for ranked, stored in above]
        ranked_all += below[: query.k - len(above)]
        if sum(len(stored.document) for _, stored in ranked_all) <= _SOON:
            return Found(_hits(ranked_all), notes)
        return Found(await trio.to_thread.run_sync(_hits, ranked_all, limiter=self._working), notes)

    async def _answer(self, place: Place, query: Query, mode: Mode, wanted: Wanted, hidden: int) -> Answer:
        searching = await self._of(place, asks=query.vector is None and mode is not Mode.KEYWORD)
        # So many of them may be the session's own.
        most = min(query.k + hidden, MOST_HITS)
        if query.vector is None:
            return await searching.search(query.text, most, filters=wanted, mode=mode)
        retriever = searching.retriever
        vector = _vector(query.vector, retriever)
        if retriever.expected(mode) <= INLINE:
            return retriever.search(query.text, most, vector=vector, filters=wanted, mode=mode)
        return await trio.to_thread.run_sync(
            lambda: retriever.search(query.text, most, vector=vector, filters=wanted, mode=mode),
            limiter=self._working,
        )

    async def _of(self, place: Place, *, asks: bool) -> Searching:
        plain = Place(place.owner, place.base)
        retriever = (await self._bases.search(plain)).retriever
        if not asks:
            # A model that is away keeps nobody waiting who needs none.
            return Searching(retriever, None, self._working)
        embedder, trouble = await self._bases.embedder(plain)
        known = self._searching.get(plain)
        if known is None or known[1] is not embedder or known[2] != trouble:
            made = Searching(retriever, embedder, self._working, trouble=trouble, patience=2 * PATIENCE)
            known = self._searching[plain] = (made, embedder, trouble)
            if len(self._searching) > _KEPT:
                self._searching.popitem(last=False)
        self._searching.move_to_end(plain)
        known[0].retriever = retriever
        return known[0]


def _vector(given: Sequence[float], retriever: Retriever) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    if retriever.model is None:
        raise ValueError("vector: the knowledge base has no vectors")
    if len(given) != retriever.model.dimension:
        raise ValueError(f"vector: has {len(given)} numbers, those of the knowledge base {retriever.model.dimension}")
    vector = np.asarray(given, np.float64)
    largest = float(np.abs(vector).max())
    if not np.isfinite(largest) or largest == 0:
        raise ValueError("vector: must have finite numbers that are not all 0")
    # In two steps: squares of large numbers are more than a number may be.
    vector /= largest
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _hits(found: Sequence[tuple[Ranked, Stored]]) -> list[Hit]:
    hits = []
    for ranked, stored in found:
        entry = entry_of(stored)
        hits.append(Hit(entry.head, entry.content, ranked.score, _matches(ranked), ranked.cosine))
    return hits


def _matches(ranked: Ranked) -> tuple[Match, ...]:
    found = []
    for match in ranked.matches[:_SHOWN]:
        fields = {_FIELDS.get(field, field) for field in match.fields}
        found.append(Match(match.term, next((field for field in _ORDER if field in fields), "content")))
    return tuple(found)
