"""The part of the service `kb` that finds and reads entries."""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from pydantic import Field

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.kb_arguments import QUERY_BOUNDS, Base, Id, Labels, Mode, Session, Source, Vector, refusing
from innkeeper.bridge.kb_values import change_value, entry_value, head_value, hit_value
from innkeeper.bridge.knowledge import KnowledgeBases
from innkeeper.bridge.operation import operation
from innkeeper.storage.knowledge_model import MOST_HITS, MOST_LISTED, MOST_QUERY, Filters, Place, Query


class KbReading:
    """What guests may learn of knowledge bases."""

    def __init__(self, knowledge: Callable[[], Awaitable[KnowledgeBases]]) -> None:
        """Args:
        knowledge: gives what keeps the bases, at the first need.
        """
        self._knowledge = knowledge

    @operation("kb.read", use="base", refers=True, bounds=QUERY_BOUNDS)
    async def search(
        self,
        caller: Caller,
        *,
        base: Base,
        query: Annotated[str, Field(max_length=MOST_QUERY)] = "",
        k: Annotated[int, Field(ge=1, le=MOST_HITS)] = 10,
        mode: Mode = "hybrid",
        vector: Vector | None = None,
        tags: Labels | None = None,
        types: Labels | None = None,
        source: Source | None = None,
        disabled: bool = False,
        session: Session = "",
    ) -> dict[str, Any]:
        """Finds the entries that answer a query best, the best first. What does not work as it should is in `notes`:
        where the model is away, words alone are searched.

        Args:
            base: id of the knowledge base, or a reference of the run's project.
            query: what is looked for.
            k: how many at most.
            mode: by words, by meaning, or by both.
            vector: of the base's model, in place of the one that is made of the query; see `kb.embed`.
            tags: only entries that have one of these; nil: all.
            types: only entries of one of these types; nil: of any.
            source: only entries of this source; nil: of any.
            disabled: whether entries that are not enabled are found too.
            session: a session whose changes lie over the base: what it says itself is searched by words, and goes
                first.

        Returns:
            {hits: list of {id, title, content, keywords, priority, enabled, source, author, version, created, updated,
            score: float, cosine: float or nil, matches: list of {term, field: "keyword", "title" or "content"}},
            notes: list of text}
        """
        filters = Filters(source, disabled, tuple(tags or ()), tuple(types or ()))
        with refusing():
            knowledge = await self._knowledge()
            asked = Query(query, vector, mode, k)
            found = await knowledge.search(Place(caller.owner, base, session), asked, filters=filters)
        return {"hits": [hit_value(hit) for hit in found.hits], "notes": list(found.notes)}

    @operation("kb.read", use="base", refers=True)
    async def get(self, caller: Caller, *, base: Base, id: Id, whole: bool = False, session: Session = "") -> Any:
        """Reads an entry.

        Args:
            base: id of the knowledge base, or a reference of the run's project.
            id: of the entry.
            whole: whether the entry's whole document is wanted, too.
            session: a session whose changes lie over the base.

        Returns:
            {id, title, content, keywords, priority, enabled, source, author, version, created, updated, metadata}, with
            `document` where it is wanted; `not_found` where there is none
        """
        with refusing():
            entry = await (await self._knowledge()).get(Place(caller.owner, base, session), id)
        return entry_value(entry, whole)

    @operation("kb.read", use="base", refers=True, bounds=QUERY_BOUNDS)
    async def list(
        self,
        caller: Caller,
        *,
        base: Base,
        after: Annotated[str, Field(max_length=128)] = "",
        limit: Annotated[int, Field(ge=1, le=MOST_LISTED)] = 50,
        tags: Labels | None = None,
        types: Labels | None = None,
        source: Source | None = None,
        disabled: bool = True,
        contents: bool = False,
        whole: bool = False,
        ids: Annotated[builtins.list[Id], Field(max_length=MOST_LISTED)] | None = None,
        session: Session = "",
    ) -> dict[str, Any]:
        """Lists entries in the order of their ids. Long entries make a page shorter: the last page is an empty one.

        Args:
            base: id of the knowledge base, or a reference of the run's project.
            after: the last id of the page before.
            limit: how many at most.
            tags: only entries that have one of these; nil: all.
            types: only entries of one of these types; nil: of any.
            source: only entries of this source; nil: of any.
            disabled: whether entries that are not enabled are among them.
            contents: whether their contents are wanted, too.
            whole: whether their contents and whole documents are wanted, too.
            ids: only these of them that are there; nil: all.
            session: a session whose changes lie over the base.

        Returns:
            {entries: list of {id, title, keywords, priority, enabled, source, author, version, created, updated}}, with
            `content` and `metadata` where they are wanted, and `document`
        """
        filters = Filters(source, disabled, tuple(tags or ()), tuple(types or ()))
        with refusing():
            knowledge = await self._knowledge()
            place = Place(caller.owner, base, session)
            found = await knowledge.list(place, after=after, limit=limit, filters=filters, ids=ids)
        full = contents or whole
        return {"entries": [entry_value(entry, whole) if full else head_value(entry.head) for entry in found]}

    @operation("kb.read", use="base", refers=True)
    async def info(self, caller: Caller, *, base: Base) -> Any:
        """Says what a base is.

        Args:
            base: id of the knowledge base, or a reference of the run's project.

        Returns:
            {id, name, description, entries: integer, revision: integer, model: text or nil, read_only: bool, waits:
            whether changes wait for the operator, tags: list of text, extensions: map, notes: list of text}
        """
        with refusing():
            return dict(await (await self._knowledge()).info(Place(caller.owner, base)))

    @operation("kb.read", use="base", refers=True)
    async def history(
        self,
        caller: Caller,
        *,
        base: Base,
        id: Id,
        before: Annotated[int, Field(ge=0, lt=1 << 63)] = 0,
        limit: Annotated[int, Field(ge=1, le=MOST_LISTED)] = 50,
    ) -> dict[str, Any]:
        """Lists the changes of an entry, the newest first.

        Args:
            base: id of the knowledge base, or a reference of the run's project.
            id: of the entry.
            before: only changes with a lower number; 0: from the newest on.
            limit: how many at most.

        Returns:
            {changes: list of {number, entry, kind: "put" or "delete", author, at, existed: bool}}
        """
        with refusing():
            knowledge = await self._knowledge()
            changes = await knowledge.history(Place(caller.owner, base), id, before=before, limit=limit)
        return {"changes": [change_value(change) for change in changes]}
