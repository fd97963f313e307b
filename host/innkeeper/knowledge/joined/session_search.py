"""Searches of what a session says itself: few entries, by words alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import trio

from innkeeper.knowledge.joined.session import stored_of
from innkeeper.knowledge.live.base import LiveBase
from innkeeper.knowledge.model.entry import read_entry
from innkeeper.knowledge.retrieval.interface import Filters, Hit, Mode
from innkeeper.knowledge.retrieval.kept import item_of
from innkeeper.knowledge.retrieval.legs import TextLegs
from innkeeper.knowledge.retrieval.retriever import Retriever
from innkeeper.knowledge.store.values import Overlaid, Stored
from innkeeper.storage.knowledge_model import Place

_KEPT: Final = 32
"""Sessions whose search is kept; the one that was used longest ago goes first."""


@dataclass(frozen=True, slots=True)
class _Made:
    of: tuple[tuple[str, int, float], ...]
    created: float
    retriever: Retriever
    entries: Mapping[str, Stored]


@dataclass(frozen=True, slots=True)
class _Item:
    """Implements `retrieval.kept.Kept`."""

    id: str
    document: str
    terms: bytes
    vector: None = None


class SessionSearch:
    """Searches overlays."""

    def __init__(self, limiter: trio.CapacityLimiter) -> None:
        """Args:
        limiter: of the threads in which a search is made.
        """
        self._limiter = limiter
        self._made: OrderedDict[Place, _Made] = OrderedDict()

    async def search(
        self, place: Place, live: LiveBase, overlay: Mapping[str, Overlaid], query: str, k: int, filters: Filters
    ) -> list[tuple[Hit, Stored]]:
        """The entries of a session that match best by their words, the best first.

        Args:
            place: with the session.
            live: the base below.
            overlay: of the session, by id of the entry.
            query: at most `MOST_QUERY` characters.
            k: how many at most.
            filters: which entries.
        """
        of = tuple((id, mine.version, mine.at) for id, mine in overlay.items())
        made = self._made.get(place)
        if made is None or made.of != of or made.created != live.state.created:
            entries = {id: stored for id, mine in overlay.items() if (stored := stored_of(mine, live.get(id)))}
            retriever = await trio.to_thread.run_sync(_built, entries, limiter=self._limiter)
            made = self._made[place] = _Made(of, live.state.created, retriever, entries)
            if len(self._made) > _KEPT:
                self._made.popitem(last=False)
        self._made.move_to_end(place)
        found = made.retriever.search(query, k, filters=filters, mode=Mode.KEYWORD)
        return [(hit, made.entries[hit.id]) for hit in found.hits]


def _built(entries: Mapping[str, Stored]) -> Retriever:
    legs = TextLegs()
    items = []
    for stored in entries.values():
        entry, _ = read_entry(stored.plain())
        if entry is not None:
            items.append(item_of(_Item(stored.id, stored.document, legs.terms(entry))))
    return Retriever.build(items)
