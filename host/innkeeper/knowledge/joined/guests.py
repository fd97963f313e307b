"""Knowledge bases as the service `kb` offers them to guests."""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import trio

from innkeeper.errors import UsageError
from innkeeper.knowledge.embedding.interface import EmbeddingError
from innkeeper.knowledge.joined import rendering
from innkeeper.knowledge.joined.activating import Activating
from innkeeper.knowledge.joined.answers import assembled_value, result_value
from innkeeper.knowledge.joined.assembling import Assembling
from innkeeper.knowledge.joined.bases import Bases
from innkeeper.knowledge.joined.drafts import as_document, entry_of, head_of
from innkeeper.knowledge.joined.finding import Finding
from innkeeper.knowledge.joined.projects import project_bases
from innkeeper.knowledge.joined.requests import request_of
from innkeeper.knowledge.live.base import LiveBase
from innkeeper.knowledge.store.values import Change as StoreChange
from innkeeper.knowledge.store.values import Origin, Overlaid, Stored
from innkeeper.plugins.runs import RunBase
from innkeeper.storage.knowledge_model import (
    MOST_LISTED,
    Change,
    Draft,
    Entry,
    Filters,
    Found,
    Head,
    HeldError,
    NoSuchError,
    Place,
    Query,
    VersionError,
)
from innkeeper.storage.names import check_name

_TRIES: Final = 5

_FEW: Final = 32 << 10
"""Characters of a document that is taken apart in a fraction of a millisecond."""

_MOST_PAGE: Final = 2 << 20
"""Characters of the documents of a page: guests read it at once."""

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
        self._finding = Finding(bases)
        self._reading = trio.CapacityLimiter(2)
        self._writing = trio.Lock()

    async def search(self, place: Place, query: Query, *, filters: Filters) -> Found:
        """As `KnowledgeBases.search`."""
        return await _said(lambda: self._finding.search(place, query, filters))

    async def get(self, place: Place, id: str) -> Entry:
        """As `KnowledgeBases.get`."""
        check_name(id, "id")
        return await self._read(await self._there(place, id))

    async def list(
        self, place: Place, *, after: str, limit: int, filters: Filters, ids: Sequence[str] | None = None
    ) -> builtins.list[Entry]:
        """As `KnowledgeBases.list`."""
        check_name(after, "id to go on after", empty=True)
        if not 1 <= limit <= MOST_LISTED:
            raise ValueError(f"the limit must be 1 to {MOST_LISTED}")
        check_source(filters)
        live = await self._base(place)
        overlay = await self._overlay(place)

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

        return await trio.to_thread.run_sync(work, limiter=self._reading)

    async def info(self, place: Place) -> Mapping[str, Any]:
        """As `KnowledgeBases.info`."""
        live = await self._base(place)
        state = live.state
        extensions = state.info.get("kb_extensions")
        return {
            "id": place.base,
            "name": _text(state.info.get("kb_displayName")) or place.base,
            "description": _text(state.info.get("kb_description")),
            "entries": len(live),
            "revision": state.revision,
            "model": state.model or None,
            "read_only": state.read_only,
            "waits": state.approval,
            "tags": [tag for tag in state.info.get("tags") or () if isinstance(tag, str)],
            "extensions": dict(extensions) if isinstance(extensions, Mapping) else {},
            "notes": self._bases.library.notes(Place(place.owner, place.base)),
        }

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
                    return await _said(lambda: self._put(place, id, draft, source, author, expect))
                except VersionError:
                    if expect is not None or attempt == _TRIES - 1:
                        raise
        raise AssertionError("the last attempt ends the loop")

    async def _put(self, place: Place, id: str, draft: Draft, source: str, author: str, expect: int | None) -> Head:
        live = await self._base_or_none(place)
        if live is None and (expect or place.session):
            raise NoSuchError(f"there is no knowledge base {place.base!r}")
        stored = None if live is None else seen(live, await self._overlay(place), id)
        plain = Place(place.owner, place.base)
        if live is not None and not place.session and expect not in (None, 0 if stored is None else stored.version):
            # What another process wrote just now may be what is expected.
            stored = await self._bases.library.store.get(plain, id)
        current = 0 if stored is None else stored.version
        if expect not in (None, current):
            raise VersionError(current)
        document = await self._document(id, draft, stored)
        now = self._bases.library.store.now()
        if place.session:
            await self._overlay_put(place, id, document, source, author)
            return head_of(await self._there(place, id))
        change = StoreChange(id, document, current, source)
        if live is not None and live.state.approval and author:
            raise HeldError(await self._bases.library.proposals.propose(plain, change, author))
        if live is None:
            await self._begin(plain)
        revision = (await self._bases.change(plain, [change], Origin(author=author))).revision
        return Head(
            id, draft.title, draft.keywords, draft.priority, draft.enabled, source, author, revision,
            now if stored is None else stored.created, now,
        )  # fmt: skip

    async def delete(self, place: Place, id: str, *, author: str = "", expect: int | None = None) -> None:
        """As `KnowledgeBases.delete`."""
        check_name(id, "id")
        stored = await self._there(place, id)
        if place.session:
            if expect not in (None, stored.version):
                raise VersionError(stored.version)
            await self._bases.library.sessions.put(
                Place(place.owner, place.base), place.session, id, None, author=author
            )
            return
        live = await self._base(place)
        change = StoreChange(id, None, expect)
        if live.state.approval and author:
            raise HeldError(await self._bases.library.proposals.propose(place, change, author))
        await _said(lambda: self._bases.change(place, [change], Origin(author=author)))

    async def undo(self, place: Place, id: str, *, author: str, expect: int | None = None) -> Head | None:
        """As `KnowledgeBases.undo`."""
        check_name(id, "id")
        live = await self._base(place)
        if expect not in (None, live.version(id)):
            raise VersionError(live.version(id))
        past = await self._bases.library.store.history(place, id, most=1)
        if not past:
            raise NoSuchError(f"nothing is remembered of the entry in the knowledge base {place.base!r}")
        if past[0].author != author:
            raise ValueError("somebody else changed the entry last: only the operator takes that back")
        if live.state.approval:
            raise ValueError("changes of this knowledge base wait for the operator, who can take this one back, too")
        await _said(lambda: self._bases.library.undo(place, id, author=author))
        stored = (await self._base(place)).get(id)
        return None if stored is None else head_of(stored)

    async def history(self, place: Place, id: str, *, before: int, limit: int) -> builtins.list[Change]:
        """As `KnowledgeBases.history`."""
        check_name(id, "id")
        await self._base(place)
        past = await self._bases.library.store.history(place, id, below=before or 1 << 62, most=1000)
        kinds = {"create": "put", "change": "put", "delete": "delete"}
        return [
            Change(each.revision, each.entry, kinds[each.kind], each.author, each.at, each.before is not None)
            for each in past[:limit]
        ]

    async def activate(self, owner: str, bases: Sequence[str], request: Mapping[str, Any]) -> Mapping[str, Any]:
        """As `KnowledgeBases.activate`."""
        if request["session"]:
            check_name(request["session"], "session")
        places = [Place(owner, base, request["session"]) for base in dict.fromkeys(bases)]
        result = await _said(
            lambda: self._activating.activate(
                places, request_of(request), profile=request["profile"], settings=request["settings"]
            )
        )
        return result_value(result, request["trace"])

    async def assemble(
        self, owner: str, request: Mapping[str, Any], allowed: Callable[[str], bool]
    ) -> Mapping[str, Any]:
        """As `KnowledgeBases.assemble`."""
        return assembled_value(await _said(lambda: self._assembling.assemble(owner, request, allowed)))

    async def render(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """As `KnowledgeBases.render`."""
        if len(request["template"]) <= _SHORT:
            return rendering.render(request)
        return await trio.to_thread.run_sync(rendering.render, request, limiter=self._reading)

    async def embed(self, place: Place, texts: Sequence[str]) -> Mapping[str, Any]:
        """As `KnowledgeBases.embed`."""
        embedder, trouble = await self._bases.embedder(place)
        if embedder is None:
            raise ValueError(
                trouble or f"the knowledge base {place.base!r} has no model: innkeeper kb embed gives it one"
            )
        try:
            vectors = await embedder.embed(texts)
        except EmbeddingError as error:
            raise ValueError(str(error)) from None
        identity = embedder.identity
        return {"model": identity.key, "dimension": identity.dimension, "vectors": vectors.tolist()}

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

    async def _begin(self, place: Place) -> None:
        # A base that begins with a guest's entry gets the user's model where that costs nothing: it is searched by
        # meaning from its first entry on.
        default = next((model for model in self._bases.models.all if model.name == self._bases.models.default), None)
        info: dict[str, Any] = {"kb_id": place.base}
        if default is not None and default.kind == "offline":
            embedder, _ = await self._bases.opened(default.name)
            if embedder is not None:
                info["embedding_model_id"] = embedder.identity.key
        await self._bases.library.create(place, info)

    async def _base(self, place: Place) -> LiveBase:
        return await _said(lambda: self._bases.base(place))

    async def _base_or_none(self, place: Place) -> LiveBase | None:
        try:
            return await self._base(place)
        except NoSuchError:
            return None

    async def _overlay(self, place: Place) -> Mapping[str, Overlaid]:
        if not place.session:
            return {}
        check_name(place.session, "session")
        said = await self._bases.library.sessions.overlay(Place(place.owner, place.base), place.session)
        return {each.entry: each for each in said}

    async def _overlay_put(self, place: Place, id: str, document: dict[str, Any], source: str, author: str) -> None:
        management = document.get("management_metadata")
        document["management_metadata"] = {**(management if isinstance(management, dict) else {}), "source": source}
        plain = Place(place.owner, place.base)
        await self._bases.library.sessions.put(plain, place.session, id, document, author=author)

    async def _there(self, place: Place, id: str) -> Stored:
        live = await self._base(place)
        stored = seen(live, await self._overlay(place), id)
        if stored is None:
            raise NoSuchError(f"the knowledge base {place.base!r} has no such entry")
        return stored


async def _said(work: Callable[[], Awaitable[T]]) -> T:
    # A guest's mistake is a sentence to it, and no error of a command.
    try:
        return await work()
    except UsageError as error:
        raise ValueError(error.message) from None


def seen(live: LiveBase, overlay: Mapping[str, Overlaid], id: str) -> Stored | None:
    """An entry as a session sees it.

    Args:
        live: the base.
        overlay: of the session, by id of the entry.
        id: of the entry.
    """
    mine = overlay.get(id)
    return live.get(id) if mine is None else stored_of(mine, live.get(id))


def stored_of(mine: Overlaid, under: Stored | None) -> Stored | None:
    """What an overlay says of an entry, in the form of what a base says of one; None where it says that it is gone."""
    if mine.document is None:
        return None
    import json

    management = mine.document.get("management_metadata")
    management = management if isinstance(management, Mapping) else {}
    return Stored(
        mine.entry,
        json.dumps(mine.document, ensure_ascii=False),
        under.position if under is not None else 0.0,
        mine.version,
        management.get("is_enabled", True) is not False,
        _text(management.get("source")),
        mine.author,
        under.created if under is not None else mine.at,
        mine.at,
        "",
    )


def passes(stored: Stored, filters: Filters) -> bool:
    """Whether filters let an entry through."""
    if not (stored.enabled or filters.disabled) or filters.source not in (None, stored.source):
        return False
    if not filters.tags and not filters.types:
        return True
    document = stored.plain()
    management = document.get("management_metadata")
    tags = management.get("tags") if isinstance(management, Mapping) else ()
    if filters.tags and not any(tag in filters.tags for tag in tags or ()):
        return False
    return not filters.types or document.get("entry_type", "lore_detail") in filters.types


def check_source(filters: Filters) -> None:
    """Raises ValueError for a source that is none."""
    if filters.source is not None:
        check_name(filters.source, "source")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
