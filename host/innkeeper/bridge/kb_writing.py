"""The part of the service `kb` that changes entries: what an agent's tools need."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any
from weakref import WeakValueDictionary

import trio
from pydantic import Field

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.kb_arguments import (
    Base,
    Content,
    Id,
    Keywords,
    Label,
    Map,
    Priority,
    Session,
    Title,
    Version,
    refusing,
)
from innkeeper.bridge.kb_reading import KbReading
from innkeeper.bridge.kb_values import as_draft
from innkeeper.bridge.knowledge import KnowledgeBases
from innkeeper.bridge.operation import operation
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.storage.knowledge_model import AGENT, Draft, Entry, HeldError, Place, VersionError

_TRIES = 5
"""How often a change begins again where somebody else changed the entry meanwhile."""

DEPRECATED = "deprecated"
"""The tag of an entry that is out of date."""


class KbWriting(KbReading):
    """What guests may change. What a guest writes has the source `AGENT`: it cannot say another."""

    def __init__(self, knowledge: Callable[[], Awaitable[KnowledgeBases]]) -> None:
        """As `KbReading`."""
        super().__init__(knowledge)
        self._turns: WeakValueDictionary[tuple[Place, str], trio.Lock] = WeakValueDictionary()

    @operation("kb.write", use="base", refers=True, free_form=True)
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
        metadata: Map | None = None,
        fields: Map | None = None,
        expect: Version | None = None,
        session: Session = "",
    ) -> dict[str, Any]:
        """Keeps an entry, in place of the one that is there. The base is made with its first entry.

        Args:
            base: id of the knowledge base, or a reference of the run's project.
            content: what the entry says; at most 32 KiB.
            id: of the entry; nil: a new one.
            title: for people.
            keywords: at most 64 texts of at most 100 characters.
            priority: larger is kept first where there is little room, and stands nearer to the end.
            enabled: whether it can be found and be active.
            metadata: a map of plain data, at most 8 KiB.
            fields: further fields of the entry's document, as {"usage_metadata": {"role": "system"}}.
            expect: the version that it must have, 0 where it must not exist yet; nil: whatever there is. Another one
                is a `conflict`, with `current`.
            session: a session: then the change is seen in it alone, and the base stays as it is.

        Returns:
            {id, version: integer}; where the operator wants to see changes first {id, version: 0, pending: integer}
        """
        draft = Draft(title, content, tuple(keywords or ()), priority, enabled, metadata or {}, fields or {})
        # A new id is nobody's yet.
        name, least = (secrets.token_hex(12), expect or 0) if id is None else (id, expect)
        with refusing():
            knowledge = await self._knowledge()
            try:
                head = await knowledge.put(
                    Place(caller.owner, base, session), name, draft, source=AGENT, author=caller.plugin, expect=least
                )
            except HeldError as held:
                return {"id": name, "version": 0, "pending": held.change}
        return {"id": head.id, "version": head.version}

    @operation("kb.write", use="base", refers=True, free_form=True)
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
        metadata: Map | None = None,
        fields: Map | None = None,
        expect: Version | None = None,
        session: Session = "",
    ) -> dict[str, Any]:
        """Changes parts of an entry that is there.

        Args:
            base: id of the knowledge base, or a reference of the run's project.
            id: of the entry.
            content: what it says now; nil: as before, here and below.
            title: for people.
            keywords: in place of all that it had.
            priority: larger is kept first where there is little room, and stands nearer to the end.
            enabled: whether it can be found and be active.
            metadata: in place of all that it had.
            fields: further fields of the entry's document: maps are merged into those that are there.
            expect: the version that it must have; nil: whatever there is. Another one is a `conflict`, with `current`.
            session: a session: then the change is seen in it alone, and the base stays as it is.

        Returns:
            {id, version: integer}; where the operator wants to see changes first {id, version: 0, pending: integer}
        """
        given: dict[str, Any] = {"content": content, "title": title, "priority": priority, "enabled": enabled}
        given |= {"keywords": None if keywords is None else tuple(keywords), "metadata": metadata, "fields": fields}
        changes = {name: value for name, value in given.items() if value is not None}
        place = Place(caller.owner, base, session)
        return await self._change(caller, place, id, expect, lambda found: replace(as_draft(found), **changes))

    @operation("kb.write", use="base", refers=True)
    async def append(
        self,
        caller: Caller,
        *,
        base: Base,
        id: Id,
        text: Annotated[str, Field(min_length=1, max_length=8000)],
        expect: Version | None = None,
        session: Session = "",
    ) -> dict[str, Any]:
        """Adds a paragraph to an entry, unless it is there already.

        Args:
            base: id of the knowledge base, or a reference of the run's project.
            id: of the entry.
            text: the paragraph.
            expect: the version that it must have; nil: whatever there is. Another one is a `conflict`, with `current`.
            session: a session: then the change is seen in it alone, and the base stays as it is.

        Returns:
            {id, version: integer, appended: bool}; where the operator wants to see changes first with `pending`
        """
        added = " ".join(text.split())
        if not added:
            raise ServiceError(Refusal.INVALID, "text: has nothing but spaces")

        def longer(found: Entry) -> Draft | None:
            if any(" ".join(each.split()) == added for each in found.content.split("\n\n")):
                return None
            body = found.content.rstrip()
            return replace(as_draft(found), content=f"{body}\n\n{text.strip()}" if body else text.strip())

        answer = await self._change(caller, Place(caller.owner, base, session), id, expect, longer)
        return {**answer, "appended": answer.pop("changed", True)}

    @operation("kb.write", use="base", refers=True)
    async def deprecate(
        self,
        caller: Caller,
        *,
        base: Base,
        id: Id,
        reason: Label,
        successor: Id | None = None,
        expect: Version | None = None,
        session: Session = "",
    ) -> dict[str, Any]:
        """Takes an entry out of use without deleting it: it is disabled and has the tag `deprecated`.

        Args:
            base: id of the knowledge base, or a reference of the run's project.
            id: of the entry.
            reason: why, for people; kept in its `extensions`.
            successor: id of the entry that takes its place; nil: none.
            expect: the version that it must have; nil: whatever there is. Another one is a `conflict`, with `current`.
            session: a session: then the change is seen in it alone, and the base stays as it is.

        Returns:
            {id, version: integer}; where the operator wants to see changes first {id, version: 0, pending: integer}
        """

        def retired(found: Entry) -> Draft:
            management = found.document.get("management_metadata")
            tags = management.get("tags") if isinstance(management, dict) else None
            known = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
            note = {"reason": reason, "by": caller.plugin, "successor": successor}
            fields = {
                "management_metadata": {"tags": [*known, *([] if DEPRECATED in known else [DEPRECATED])]},
                "extensions": {"innkeeper": {DEPRECATED: note}},
            }
            return replace(as_draft(found), enabled=False, fields=fields)

        return await self._change(caller, Place(caller.owner, base, session), id, expect, retired)

    @operation("kb.write", use="base", refers=True)
    async def delete(
        self, caller: Caller, *, base: Base, id: Id, expect: Version | None = None, session: Session = ""
    ) -> dict[str, Any]:
        """Deletes an entry. `kb.undo` brings it back.

        Args:
            base: id of the knowledge base, or a reference of the run's project.
            id: of the entry.
            expect: the version that it must have; nil: whatever there is.
            session: a session: then it is gone in it alone, and the base stays as it is.

        Returns:
            {deleted: true}, or {deleted: false, pending: integer} where the operator wants to see changes first;
            `not_found` where there was none
        """
        place = Place(caller.owner, base, session)
        with refusing():
            try:
                await (await self._knowledge()).delete(place, id, author=caller.plugin, expect=expect)
            except HeldError as held:
                return {"deleted": False, "pending": held.change}
        return {"deleted": True}

    @operation("kb.write", use="base", refers=True)
    async def undo(self, caller: Caller, *, base: Base, id: Id, expect: Version | None = None) -> dict[str, Any]:
        """Takes the last change of an entry back, if this plugin made it.

        Args:
            base: id of the knowledge base, or a reference of the run's project.
            id: of the entry.
            expect: the version that it must have, 0 where it is deleted; nil: whatever there is.

        Returns:
            {id, version: integer}; version 0 where the entry is gone by that
        """
        with refusing():
            knowledge = await self._knowledge()
            head = await knowledge.undo(Place(caller.owner, base), id, author=caller.plugin, expect=expect)
        return {"id": id, "version": 0 if head is None else head.version}

    async def _change(
        self, caller: Caller, place: Place, id: str, expect: int | None, change: Callable[[Entry], Draft | None]
    ) -> dict[str, Any]:
        """Reads an entry and writes what becomes of it, unless somebody else wrote it meanwhile: then again.

        Args:
            caller: who changes it.
            place: the base.
            id: of the entry.
            expect: the version that it must have, or None.
            change: says what it becomes; None: it stays, and the answer has `changed`: False.
        """
        # Who changes an entry waits for whoever is changing it here, and begins again only for another process.
        async with self._turns.setdefault((place, id), trio.Lock()):
            return await self._changed(caller, place, id, expect, change)

    async def _changed(
        self, caller: Caller, place: Place, id: str, expect: int | None, change: Callable[[Entry], Draft | None]
    ) -> dict[str, Any]:
        with refusing():
            knowledge = await self._knowledge()
            tries = 0
            while True:
                found = await knowledge.get(place, id)
                current = found.head.version
                if expect is not None and expect != current:
                    raise VersionError(current)
                draft = change(found)
                if draft is None:
                    return {"id": id, "version": current, "changed": False}
                try:
                    head = await knowledge.put(place, id, draft, source=AGENT, author=caller.plugin, expect=current)
                    return {"id": head.id, "version": head.version}
                except HeldError as held:
                    return {"id": id, "version": 0, "pending": held.change}
                except VersionError:
                    tries += 1
                    if tries == _TRIES:
                        raise
