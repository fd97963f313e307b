"""Entries of bases as guests read them."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import trio

from innkeeper.knowledge.joined.bases import Bases
from innkeeper.knowledge.joined.drafts import entry_of
from innkeeper.knowledge.joined.session import check_source, passes, seen, text_or_empty
from innkeeper.knowledge.store.values import Overlaid, Stored
from innkeeper.storage.knowledge_model import MOST_LISTED, Change, Entry, Filters, NoSuchError, Place
from innkeeper.storage.names import check_name

_FEW: Final = 32 << 10
"""Characters of a document that is taken apart in a fraction of a millisecond."""

_KINDS: Final = {"create": "put", "change": "put", "delete": "delete"}


_MOST_PAGE: Final = 2 << 20
"""Characters of the documents of a page: guests read it at once."""


class Reading:
    """Reads entries."""

    def __init__(self, bases: Bases) -> None:
        """Args:
        bases: of the home.
        """
        self._bases = bases
        self._working = trio.CapacityLimiter(2)

    async def get(self, place: Place, id: str) -> Entry:
        """As `KnowledgeBases.get`."""
        check_name(id, "id")
        stored = await self.there(place, id)
        if len(stored.document) <= _FEW:
            return entry_of(stored)
        return await trio.to_thread.run_sync(entry_of, stored, limiter=self._working)

    async def list(
        self, place: Place, *, after: str, limit: int, filters: Filters, ids: Sequence[str] | None = None
    ) -> builtins.list[Entry]:
        """As `KnowledgeBases.list`."""
        check_name(after, "id to go on after", empty=True)
        if not 1 <= limit <= MOST_LISTED:
            raise ValueError(f"the limit must be 1 to {MOST_LISTED}")
        check_source(filters)
        live = await self._bases.base(place)
        overlay = await self.overlay(place)

        def work() -> builtins.list[Entry]:
            found: builtins.list[Entry] = []
            size = 0
            if ids is not None:
                chosen: Iterable[str] = sorted(id for id in set(ids) if id > after)
            else:
                added = sorted(id for id in overlay if id > after and id not in live)
                chosen = live.ids_after(after)
                chosen = sorted([*chosen, *added]) if added else chosen
            for id in chosen:
                stored = seen(live, overlay, id)
                if stored is not None and passes(stored, filters):
                    size += len(stored.document)
                    if found and size > _MOST_PAGE:
                        break
                    found.append(entry_of(stored))
                    if len(found) == limit:
                        break
            return found

        return await trio.to_thread.run_sync(work, limiter=self._working)

    async def info(self, place: Place) -> Mapping[str, Any]:
        """As `KnowledgeBases.info`."""
        live = await self._bases.base(place)
        state = live.state
        tags, extensions = state.info.get("tags"), state.info.get("kb_extensions")
        return {
            "id": text_or_empty(state.info.get("kb_id")) or place.base,
            "name": text_or_empty(state.info.get("kb_displayName")) or place.base,
            "description": text_or_empty(state.info.get("kb_description")),
            "entries": len(live),
            "revision": state.revision,
            "model": state.model or None,
            "read_only": state.read_only,
            "waits": state.approval,
            "tags": [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, builtins.list) else [],
            "extensions": dict(extensions) if isinstance(extensions, Mapping) else {},
            "notes": self._bases.library.notes(Place(place.owner, place.base)),
        }

    async def history(self, place: Place, id: str, *, before: int, limit: int) -> builtins.list[Change]:
        """As `KnowledgeBases.history`."""
        check_name(id, "id")
        if not 1 <= limit <= MOST_LISTED:
            raise ValueError(f"the limit must be 1 to {MOST_LISTED}")
        await self._bases.base(place)
        plain = Place(place.owner, place.base)
        store = self._bases.library.store
        past = await store.history(plain, id, below=before or 1 << 62, most=limit, whole=False)
        return [
            Change(each.revision, each.entry, _KINDS[each.kind], each.author, each.at, each.before is not None)
            for each in past
        ]

    async def overlay(self, place: Place) -> Mapping[str, Overlaid]:
        """What the place's session says, by id of the entry; nothing without a session."""
        if not place.session:
            return {}
        check_name(place.session, "session")
        said = await self._bases.library.sessions.overlay(Place(place.owner, place.base), place.session)
        return {each.entry: each for each in said}

    async def there(self, place: Place, id: str) -> Stored:
        """An entry as the place's session sees it.

        Raises:
            NoSuchError: it does not.
        """
        live = await self._bases.base(place)
        stored = seen(live, await self.overlay(place), id)
        if stored is None:
            raise NoSuchError(f"the knowledge base {place.base!r} has no such entry")
        return stored
