"""Knowledge bases as the service `kb` offers them to guests."""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import trio

from innkeeper.knowledge.drafts import as_document, entry_of, head_of, priority_of
from innkeeper.knowledge.library import Library
from innkeeper.knowledge.live.base import LiveBase
from innkeeper.knowledge.model.problems import KnowledgeError
from innkeeper.knowledge.opening import PLAIN
from innkeeper.knowledge.plain.index import MOST_QUERY_TERMS, PlainIndex
from innkeeper.knowledge.plain.terms import query_terms
from innkeeper.knowledge.store.values import Change, Origin, Stored
from innkeeper.storage.knowledge_model import (
    MOST_HITS,
    MOST_LISTED,
    MOST_QUERY,
    Draft,
    Entry,
    Filters,
    Head,
    Hit,
    Match,
    NoSuchError,
    Place,
    VersionError,
)
from innkeeper.storage.names import check_name

_TRIES: Final = 5

_FEW: Final = 32 << 10
"""Characters of a document that is taken apart in a fraction of a millisecond."""

T = TypeVar("T")


class GuestBases:
    """Implements `bridge.knowledge.KnowledgeBases` on a library that has the index `PLAIN`.

    A base is there from its first entry on. What a guest writes is one step; where the base's operator wants to see it
    first it waits (`Library.proposals`), and the answer has the version 0.
    """

    def __init__(self, library: Library) -> None:
        """Args:
        library: has the bases.
        """
        self._library = library
        self._reading = trio.CapacityLimiter(2)
        self._writing = trio.Lock()

    async def search(self, place: Place, query: str, *, k: int, filters: Filters) -> builtins.list[Hit]:
        """As `KnowledgeBases.search`."""
        if len(query) > MOST_QUERY or not 1 <= k <= MOST_HITS:
            raise ValueError(f"a query has at most {MOST_QUERY} characters, and gives 1 to {MOST_HITS} entries")
        _check_source(filters)
        index = await self._library.index(place, PLAIN)
        assert isinstance(index, PlainIndex)
        live = await self._library.base(place)

        def wanted(id: str) -> int | None:
            stored = live.get(id)
            if stored is None or not _passes(stored, filters):
                return None
            return priority_of(stored.plain())

        def work() -> builtins.list[Hit]:
            found = index.search(query_terms(query, MOST_QUERY_TERMS), wanted, k)
            hits = []
            for each in found:
                stored = live.get(each.id)
                if stored is not None:
                    entry = entry_of(stored)
                    matches = tuple(Match(term, field) for term, field in each.matches)
                    hits.append(Hit(entry.head, entry.content, each.score, matches))
            return hits

        return await trio.to_thread.run_sync(work, limiter=self._reading)

    async def get(self, place: Place, id: str) -> Entry:
        """As `KnowledgeBases.get`."""
        check_name(id, "id")
        return await self._read(_there(await self._library.base(place), id))

    async def list(self, place: Place, *, after: str, limit: int, filters: Filters) -> builtins.list[Head]:
        """As `KnowledgeBases.list`."""
        check_name(after, "id to go on after", empty=True)
        if not 1 <= limit <= MOST_LISTED:
            raise ValueError(f"the limit must be 1 to {MOST_LISTED}")
        _check_source(filters)
        live = await self._library.base(place)

        def work() -> builtins.list[Head]:
            found: builtins.list[Head] = []
            for id in live.ids_after(after):
                stored = live.get(id)
                if stored is not None and _passes(stored, filters):
                    found.append(head_of(stored))
                    if len(found) == limit:
                        break
            return found

        return await trio.to_thread.run_sync(work, limiter=self._reading)

    async def put(
        self, place: Place, id: str, draft: Draft, *, source: str, author: str, expect: int | None = None
    ) -> Head:
        """As `KnowledgeBases.put`; fields that a draft does not have stay as they are in an entry that is there."""
        check_name(id, "id")
        check_name(source, "source")
        check_name(author, "author", empty=True)
        if expect is not None and not 0 <= expect < 1 << 63:
            raise ValueError("the expected version must be 0 or the version of an entry")
        # One at a time, so that only another process can come in between.
        async with self._writing:
            for attempt in range(_TRIES):
                try:
                    return await self._put(place, id, draft, source, author, expect)
                except VersionError:
                    if expect is not None or attempt == _TRIES - 1:
                        raise
        raise AssertionError("the last attempt ends the loop")

    async def _put(self, place: Place, id: str, draft: Draft, source: str, author: str, expect: int | None) -> Head:
        live = await self._base_or_none(place)
        if live is None and expect:
            raise NoSuchError(f"there is no knowledge base {place.base!r}")
        stored = None if live is None else live.get(id)
        if live is not None and expect not in (None, 0 if stored is None else stored.version):
            # What another process wrote just now may be what is expected.
            stored = await self._library.store.get(place, id)
        current = 0 if stored is None else stored.version
        if expect not in (None, current):
            raise VersionError(current)
        document = await self._document(id, draft, stored)
        change = Change(id, document, current, source)
        now = self._library.store.now()
        if live is not None and live.state.approval and author:
            await _said(lambda: self._library.proposals.propose(place, change, author))
            revision = 0
        else:
            origin = Origin(author=author)
            revision = (await _said(lambda: self._library.change(place, [change], origin))).revision
        return Head(
            id, draft.title, draft.keywords, draft.priority, draft.enabled, source, author, revision,
            now if stored is None else stored.created, now,
        )  # fmt: skip

    async def delete(self, place: Place, id: str, *, expect: int | None = None, author: str = "") -> None:
        """As `KnowledgeBases.delete`.

        Args:
            author: id of the plugin that deletes it, or "".
        """
        check_name(id, "id")
        live = await self._library.base(place)
        change = Change(id, None, expect)
        if live.state.approval and author:
            await _said(lambda: self._library.proposals.propose(place, change, author))
            return
        await _said(lambda: self._library.change(place, [change], Origin(author=author)))

    async def serve(self) -> None:
        """What goes on while no guest asks."""
        await self._library.serve()

    async def aclose(self) -> None:
        """Writes what is not written yet."""
        await self._library.aclose()

    async def _read(self, stored: Stored) -> Entry:
        if len(stored.document) <= _FEW:
            return entry_of(stored)
        return await trio.to_thread.run_sync(entry_of, stored, limiter=self._reading)

    async def _document(self, id: str, draft: Draft, stored: Stored | None) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            if stored is None:
                return as_document(id, draft, None, None)
            return as_document(id, draft, stored.plain(), entry_of(stored))

        if stored is None or len(stored.document) <= _FEW:
            return work()
        return await trio.to_thread.run_sync(work, limiter=self._reading)

    async def _base_or_none(self, place: Place) -> LiveBase | None:
        try:
            return await self._library.base(place)
        except NoSuchError:
            return None


async def _said(work: Callable[[], Awaitable[T]]) -> T:
    # A guest's mistake is a sentence to it, and no error of a command.
    try:
        return await work()
    except KnowledgeError as error:
        raise ValueError(str(error)) from None


def _there(live: LiveBase, id: str) -> Stored:
    stored = live.get(id)
    if stored is None:
        raise NoSuchError(f"the knowledge base {live.place.base!r} has no such entry")
    return stored


def _passes(stored: Stored, filters: Filters) -> bool:
    return (stored.enabled or filters.disabled) and filters.source in (None, stored.source)


def _check_source(filters: Filters) -> None:
    if filters.source is not None:
        check_name(filters.source, "source")
