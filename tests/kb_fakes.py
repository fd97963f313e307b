"""Knowledge bases for tests of what asks them: entries in a dictionary, and a record of what was asked."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import trio

from innkeeper.bridge.knowledge import KnowledgeNeeds
from innkeeper.plugins.runs import RunBase
from innkeeper.storage.knowledge_model import (
    Change,
    Draft,
    Entry,
    Filters,
    Found,
    Head,
    HeldError,
    Hit,
    NoSuchError,
    Place,
    Query,
    VersionError,
)


class FakeKnowledge:
    """Implements `bridge.knowledge.KnowledgeBases`. Of a session it knows nothing but its name."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.bases: dict[str, dict[str, Entry]] = {}
        self.extensions: dict[str, Any] = {}
        self.last: dict[tuple[str, str], Entry | None] = {}
        self.answer: dict[str, Any] = {}
        self.hold = False
        self.version = 0

    async def make(self, needs: KnowledgeNeeds) -> FakeKnowledge:
        return self

    def keep(self, base: str, id: str, content: str, **more: Any) -> None:
        """An entry that is there already."""
        self.version += 1
        head = Head(
            id, more.get("title", ""), (), more.get("priority", 100), True, "manual_entry", "", self.version, 0, 0
        )
        self.bases.setdefault(base, {})[id] = Entry(head, content, {}, {"id": id, "content": {"value": content}})

    def _base(self, place: Place) -> dict[str, Entry]:
        if place.base not in self.bases:
            raise NoSuchError(f"there is no knowledge base {place.base!r}")
        return self.bases[place.base]

    async def search(self, place: Place, query: Query, *, filters: Filters) -> Found:
        self.asked.append(("search", place, query, filters))
        entries = list(self._base(place).values())[: query.k]
        return Found([Hit(entry.head, entry.content, 2.0, (), 0.5) for entry in entries], ["a note"])

    async def get(self, place: Place, id: str) -> Entry:
        entry = self._base(place).get(id)
        if entry is None:
            raise NoSuchError(f"the knowledge base {place.base!r} has no such entry")
        return entry

    async def list(
        self, place: Place, *, after: str, limit: int, filters: Filters, ids: Sequence[str] | None = None
    ) -> builtins.list[Entry]:
        self.asked.append(("list", place, filters, ids))
        entries = sorted(self._base(place).items())
        return [entry for id, entry in entries if id > after and (ids is None or id in ids)][:limit]

    async def info(self, place: Place) -> Mapping[str, Any]:
        return {"id": place.base, "name": place.base.title(), "description": "", "extensions": self.extensions}

    async def put(
        self, place: Place, id: str, draft: Draft, *, source: str, author: str, expect: int | None = None
    ) -> Head:
        self.asked.append(("put", place, id, draft, source, author))
        entries = self.bases.setdefault(place.base, {})
        found = entries.get(id)
        current = 0 if found is None else found.head.version
        if expect is not None and expect != current:
            raise VersionError(current)
        if self.hold:
            raise HeldError(7)
        self.version += 1
        head = Head(id, draft.title, draft.keywords, draft.priority, draft.enabled, source, author, self.version, 0, 0)
        self.last[place.base, id] = found
        entries[id] = Entry(head, draft.content, draft.metadata, {"id": id, **draft.fields})
        return head

    async def delete(self, place: Place, id: str, *, author: str = "", expect: int | None = None) -> None:
        entry = await self.get(place, id)
        if expect not in (None, entry.head.version):
            raise VersionError(entry.head.version)
        self.last[place.base, id] = self._base(place).pop(id)

    async def undo(self, place: Place, id: str, *, author: str, expect: int | None = None) -> Head | None:
        if (place.base, id) not in self.last:
            raise NoSuchError("there is nothing to undo")
        before = self.last.pop((place.base, id))
        if before is None:
            del self._base(place)[id]
            return None
        self._base(place)[id] = before
        return before.head

    async def history(self, place: Place, id: str, *, before: int, limit: int) -> builtins.list[Change]:
        return [Change(1, id, "put", "", 0.0, False)]

    async def activate(self, owner: str, bases: Sequence[str], request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(("activate", tuple(bases), request))
        return self.answer

    async def assemble(
        self, owner: str, request: Mapping[str, Any], allowed: Callable[[str], bool]
    ) -> Mapping[str, Any]:
        self.asked.append(("assemble", request))
        return self.answer

    async def render(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(("render", request))
        return self.answer

    async def embed(self, place: Place, texts: Sequence[str]) -> Mapping[str, Any]:
        self.asked.append(("embed", place, texts))
        return {"model": "m/2", "dimension": 2, "vectors": [[1.0, 0.0] for _ in texts]}

    async def project(self, owner: str, folder: Path) -> Mapping[str, RunBase]:
        return {}

    async def serve(self) -> None:
        await trio.sleep_forever()

    async def aclose(self) -> None:
        self.asked.append(("closed",))
