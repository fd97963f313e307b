"""Changes of entries that guests make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakValueDictionary

import trio

from innkeeper.knowledge.joined.bases import Bases
from innkeeper.knowledge.joined.drafts import as_document, entry_of, head_of
from innkeeper.knowledge.joined.reading import Reading
from innkeeper.knowledge.joined.session import seen
from innkeeper.knowledge.live.base import LiveBase
from innkeeper.knowledge.store.values import Change, Origin, Overlaid, Stored
from innkeeper.storage.knowledge_model import Draft, Head, HeldError, NoSuchError, Place, VersionError
from innkeeper.storage.names import check_name

_TRIES: Final = 5

_FEW: Final = 32 << 10
"""Characters of a document that is taken apart in a fraction of a millisecond."""


class Writing:
    """Writes what guests want written. One change of a base at a time: only another process comes in between."""

    def __init__(self, bases: Bases, reading: Reading) -> None:
        """Args:
        bases: of the home.
        reading: of them.
        """
        self._bases = bases
        self._reading = reading
        # As long as somebody holds one or waits for it.
        self._turns: WeakValueDictionary[Place, trio.Lock] = WeakValueDictionary()
        self._working = trio.CapacityLimiter(2)

    async def put(self, place: Place, id: str, draft: Draft, source: str, author: str, expect: int | None) -> Head:
        """As `KnowledgeBases.put`; fields that a draft does not have stay as they are in an entry that is there."""
        check_name(id, "id")
        check_name(source, "source")
        check_name(author, "author", empty=True)
        _check_expected(expect)
        async with self._turn(place):
            for attempt in range(_TRIES):
                try:
                    return await self._put(place, id, draft, source, author, expect)
                except VersionError:
                    if expect is not None or attempt == _TRIES - 1:
                        raise
        raise AssertionError("the last attempt ends the loop")

    async def _put(self, place: Place, id: str, draft: Draft, source: str, author: str, expect: int | None) -> Head:
        live = await self._base_or_none(place)
        if live is None and (expect or place.session):
            raise NoSuchError(f"there is no knowledge base {place.base!r}")
        overlay = await self._reading.overlay(place)
        stored = None if live is None else seen(live, overlay, id)
        plain = Place(place.owner, place.base)
        if live is not None and not place.session and expect not in (None, 0 if stored is None else stored.version):
            # What another process wrote just now may be what is expected.
            stored = await self._bases.library.store.get(plain, id)
        current = 0 if stored is None else stored.version
        if expect not in (None, current):
            raise VersionError(current)
        document = await self._document(id, draft, stored)
        if place.session:
            await self._lay_over(place, overlay, id, {**document, **_with_source(document, source)}, author)
            return head_of(await self._reading.there(place, id))
        change = Change(id, document, current, source)
        if live is not None and live.state.approval and author:
            raise HeldError(await self._bases.library.proposals.propose(plain, change, author))
        if live is None:
            await self._begin(plain)
        now = self._bases.library.store.now()
        revision = (await self._bases.change(plain, [change], Origin(author=author))).revision
        return Head(
            id,
            draft.title,
            draft.keywords,
            draft.priority,
            draft.enabled,
            source,
            author,
            revision,
            now if stored is None else stored.created,
            now,
        )

    async def delete(self, place: Place, id: str, author: str, expect: int | None) -> None:
        """As `KnowledgeBases.delete`."""
        check_name(id, "id")
        _check_expected(expect)
        async with self._turn(place):
            stored = await self._reading.there(place, id)
            if place.session:
                if expect not in (None, stored.version):
                    raise VersionError(stored.version)
                await self._lay_over(place, await self._reading.overlay(place), id, None, author)
                return
            live = await self._bases.base(place)
            change = Change(id, None, expect)
            if live.state.approval and author:
                raise HeldError(await self._bases.library.proposals.propose(place, change, author))
            await self._bases.change(place, [change], Origin(author=author))

    async def undo(self, place: Place, id: str, author: str, expect: int | None) -> Head | None:
        """As `KnowledgeBases.undo`."""
        check_name(id, "id")
        _check_expected(expect)
        async with self._turn(place):
            live = await self._bases.base(place)
            if expect not in (None, live.version(id)):
                raise VersionError(live.version(id))
            past = await self._bases.library.store.history(place, id, most=1)
            if not past:
                raise NoSuchError(f"nothing is remembered of the entry in the knowledge base {place.base!r}")
            if past[0].author != author:
                raise ValueError("somebody else changed the entry last: only the operator takes that back")
            if live.state.approval:
                raise ValueError(
                    "changes of this knowledge base wait for the operator, who can take this one back, too"
                )
            # Nothing but the change that was looked at, whatever another process does meanwhile.
            await self._bases.library.undo(place, id, author=author, last=past[0])
            stored = (await self._bases.base(place)).get(id)
            return None if stored is None else head_of(stored)

    def _turn(self, place: Place) -> trio.Lock:
        return self._turns.setdefault(Place(place.owner, place.base), trio.Lock())

    async def _document(self, id: str, draft: Draft, stored: Stored | None) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            if stored is None:
                return as_document(id, draft, None, None)
            return as_document(id, draft, stored.plain(), entry_of(stored))

        if not draft.fields and (stored is None or len(stored.document) <= _FEW):
            return work()
        return await trio.to_thread.run_sync(work, limiter=self._working)

    async def _lay_over(
        self,
        place: Place,
        overlay: Mapping[str, Overlaid],
        id: str,
        document: Mapping[str, Any] | None,
        author: str,
    ) -> None:
        mine = overlay.get(id)
        plain = Place(place.owner, place.base)
        expect = 0 if mine is None else mine.version
        await self._bases.library.sessions.put(plain, place.session, id, document, author=author, expect=expect)

    async def _begin(self, place: Place) -> None:
        # A base that begins with a guest's entry gets the user's model where that costs nothing: it is searched by
        # meaning from its first entry on.
        info: dict[str, Any] = {"kb_id": place.base}
        usual = await self._bases.usual_model()
        if usual:
            info["embedding_model_id"] = usual
        await self._bases.library.create(place, info)

    async def _base_or_none(self, place: Place) -> LiveBase | None:
        try:
            return await self._bases.base(place)
        except NoSuchError:
            return None


def _with_source(document: Mapping[str, Any], source: str) -> dict[str, Any]:
    management = document.get("management_metadata")
    return {"management_metadata": {**(management if isinstance(management, dict) else {}), "source": source}}


def _check_expected(expect: int | None) -> None:
    if expect is not None and not 0 <= expect < 1 << 63:
        raise ValueError("the expected version must be 0 or the version of an entry")
