"""The service `kb`: entries of knowledge bases, searched, read and written by plugins."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any

import trio
from pydantic import Field

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.kb_values import as_draft, entry_value, head_value, hit_value
from innkeeper.bridge.knowledge import KnowledgeBases
from innkeeper.bridge.operation import operation
from innkeeper.bridge.quota import Rate
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.errors import BusyError
from innkeeper.storage.knowledge_model import (
    AGENT,
    MOST_CONTENT,
    MOST_HITS,
    MOST_KEYWORD,
    MOST_KEYWORDS,
    MOST_LISTED,
    MOST_PRIORITY,
    MOST_QUERY,
    MOST_TITLE,
    Draft,
    Filters,
    FullError,
    NoSuchError,
    Place,
    VersionError,
)

RATE = Rate(per_second=200, burst=400)
"""Calls of one plugin. Searches and changes wait for each other besides: none of them is quick."""

_TRIES = 5
"""How often a patch begins again where somebody else changed the entry meanwhile."""

Base = Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Id = Annotated[str, Field(min_length=1, max_length=128)]
Version = Annotated[int, Field(ge=0, lt=1 << 63)]
Title = Annotated[str, Field(max_length=MOST_TITLE)]
Content = Annotated[str, Field(max_length=MOST_CONTENT)]
Keywords = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=MOST_KEYWORD)]], Field(max_length=MOST_KEYWORDS)
]
Priority = Annotated[int, Field(ge=-MOST_PRIORITY, le=MOST_PRIORITY)]
Source = Annotated[str, Field(min_length=1, max_length=64)]


class KbService:
    """What guests may do with knowledge bases. What a guest writes has the source `AGENT`: it cannot say another."""

    def __init__(self, knowledge: Callable[[], Awaitable[KnowledgeBases]] | None) -> None:
        """Args:
        knowledge: makes what keeps the bases, at the first need; None: this host has none.
        """
        self._make = knowledge
        self._made: KnowledgeBases | None = None
        self._making = trio.Lock()
        self._there = trio.Event()

    async def _knowledge(self) -> KnowledgeBases:
        if self._made is None:
            if self._make is None:
                raise ServiceError(Refusal.UNAVAILABLE, "this host has no knowledge bases")
            async with self._making:
                if self._made is None:
                    self._made = await self._make()
                    self._there.set()
        return self._made

    async def serve(self) -> None:
        """As `Serving.serve`."""
        await self._there.wait()
        await (await self._knowledge()).serve()

    async def aclose(self) -> None:
        """As `Closing.aclose`."""
        if self._made is not None:
            await self._made.aclose()

    @operation("kb.read", use="base")
    async def search(
        self,
        caller: Caller,
        *,
        base: Base,
        query: Annotated[str, Field(max_length=MOST_QUERY)],
        k: Annotated[int, Field(ge=1, le=MOST_HITS)] = 10,
        source: Source | None = None,
        disabled: bool = False,
    ) -> dict[str, Any]:
        """Finds the entries that have words of a query, the best first.

        Args:
            base: id of the knowledge base.
            query: what is looked for.
            k: how many at most.
            source: only entries of this source; nil: of any.
            disabled: whether entries that are not enabled are found too.

        Returns:
            {hits: list of {id, title, content, keywords, priority, enabled, source, author, version, created, updated,
            score: float, matches: list of {term, field: "keyword", "title" or "content"}}}
        """
        with _refusing():
            knowledge = await self._knowledge()
            filters = Filters(source, disabled)
            hits = await knowledge.search(Place(caller.owner, base), query, k=k, filters=filters)
        return {"hits": [hit_value(hit) for hit in hits]}

    @operation("kb.read", use="base")
    async def get(self, caller: Caller, *, base: Base, id: Id) -> dict[str, Any]:
        """Reads an entry.

        Args:
            base: id of the knowledge base.
            id: of the entry.

        Returns:
            {id, title, content, keywords, priority, enabled, source, author, version, created, updated, metadata};
            `not_found` where there is none
        """
        with _refusing():
            entry = await (await self._knowledge()).get(Place(caller.owner, base), id)
        return entry_value(entry)

    @operation("kb.read", use="base")
    async def list(
        self,
        caller: Caller,
        *,
        base: Base,
        after: Annotated[str, Field(max_length=128)] = "",
        limit: Annotated[int, Field(ge=1, le=MOST_LISTED)] = 50,
        source: Source | None = None,
        disabled: bool = True,
    ) -> dict[str, Any]:
        """Lists entries without their contents, in the order of their ids.

        Args:
            base: id of the knowledge base.
            after: the last id of the page before.
            limit: how many at most.
            source: only entries of this source; nil: of any.
            disabled: whether entries that are not enabled are among them.

        Returns:
            {entries: list of {id, title, keywords, priority, enabled, source, author, version, created, updated}}
        """
        with _refusing():
            knowledge = await self._knowledge()
            filters = Filters(source, disabled)
            heads = await knowledge.list(Place(caller.owner, base), after=after, limit=limit, filters=filters)
        return {"entries": [head_value(head) for head in heads]}

    @operation("kb.write", use="base", free_form=True)
    async def put(
        self,
        caller: Caller,
        *,
        base: Base,
        content: Content,
        id: Id | None = None,
        title: Title = "",
        keywords: Keywords | None = None,
        priority: Priority = 100,
        enabled: bool = True,
        metadata: dict[str, Any] | None = None,
        expect: Version | None = None,
    ) -> dict[str, Any]:
        """Keeps an entry, in place of the one that is there. The base is made with its first entry.

        Args:
            base: id of the knowledge base.
            content: what the entry says; at most 32 KiB.
            id: of the entry; nil: a new one.
            title: for people.
            keywords: at most 64 texts of at most 100 characters.
            priority: higher goes first among entries that match alike.
            enabled: whether searches find it.
            metadata: a map of plain data, at most 8 KiB.
            expect: the version that it must have, 0 where it must not exist yet; nil: whatever there is. Another one
                is a `conflict`, with `current`.

        Returns:
            {id, version: integer}
        """
        draft = Draft(title, content, tuple(keywords or ()), priority, enabled, metadata or {})
        with _refusing():
            knowledge = await self._knowledge()
            # A new id is nobody's yet.
            name, least = (secrets.token_hex(12), expect or 0) if id is None else (id, expect)
            head = await knowledge.put(
                Place(caller.owner, base), name, draft, source=AGENT, author=caller.plugin, expect=least
            )
        return {"id": head.id, "version": head.version}

    @operation("kb.write", use="base", free_form=True)
    async def patch(
        self,
        caller: Caller,
        *,
        base: Base,
        id: Id,
        content: Content | None = None,
        title: Title | None = None,
        keywords: Keywords | None = None,
        priority: Priority | None = None,
        enabled: bool | None = None,
        metadata: dict[str, Any] | None = None,
        expect: Version | None = None,
    ) -> dict[str, Any]:
        """Changes parts of an entry that is there.

        Args:
            base: id of the knowledge base.
            id: of the entry.
            content: what it says now; nil: as before, here and below.
            title: for people.
            keywords: in place of all that it had.
            priority: higher goes first among entries that match alike.
            enabled: whether searches find it.
            metadata: in place of all that it had.
            expect: the version that it must have; nil: whatever there is. Another one is a `conflict`, with `current`.

        Returns:
            {id, version: integer}
        """
        given: dict[str, Any] = {"content": content, "title": title, "priority": priority, "enabled": enabled}
        given |= {"keywords": None if keywords is None else tuple(keywords), "metadata": metadata}
        changes = {name: value for name, value in given.items() if value is not None}
        place = Place(caller.owner, base)
        with _refusing():
            knowledge = await self._knowledge()
            tries = 0
            while True:
                found = await knowledge.get(place, id)
                current = found.head.version
                if expect is not None and expect != current:
                    raise VersionError(current)
                draft = replace(as_draft(found), **changes)
                try:
                    head = await knowledge.put(place, id, draft, source=AGENT, author=caller.plugin, expect=current)
                    break
                except VersionError:
                    tries += 1
                    if tries == _TRIES:
                        raise
        return {"id": head.id, "version": head.version}

    @operation("kb.write", use="base")
    async def delete(self, caller: Caller, *, base: Base, id: Id, expect: Version | None = None) -> dict[str, Any]:
        """Deletes an entry.

        Args:
            base: id of the knowledge base.
            id: of the entry.
            expect: the version that it must have; nil: whatever there is.

        Returns:
            {deleted: true}; `not_found` where there was none
        """
        with _refusing():
            knowledge = await self._knowledge()
            await knowledge.delete(Place(caller.owner, base), id, expect=expect, author=caller.plugin)
        return {"deleted": True}


@contextmanager
def _refusing() -> Iterator[None]:
    # What is not done becomes what the guest reads.
    try:
        yield
    except NoSuchError as error:
        raise ServiceError(Refusal.NOT_FOUND, str(error)) from None
    except VersionError as error:
        raise ServiceError(Refusal.CONFLICT, str(error), current=error.current) from None
    except FullError as error:
        raise ServiceError(Refusal.QUOTA, str(error), quota=error.quota, value=error.value) from None
    except BusyError:
        raise ServiceError(Refusal.BUSY, "the store is busy; try again later") from None
    except ValueError as error:
        raise ServiceError(Refusal.INVALID, str(error)) from None
