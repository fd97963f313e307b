"""Bases as a session sees them: its overlay over the base's own entries."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import trio

from innkeeper.knowledge.activation.base import compile_base
from innkeeper.knowledge.joined.bases import Bases
from innkeeper.knowledge.joined.items_index import Ready
from innkeeper.knowledge.model.base import Item
from innkeeper.knowledge.model.entry import read_entry
from innkeeper.knowledge.store.values import Overlaid
from innkeeper.storage.knowledge_model import Place

_KEPT: Final = 32
"""Sessions whose view of a base is kept; the one that was used longest ago goes first."""


@dataclass(frozen=True, slots=True)
class _View:
    # What it was made of, itself: numbers of a base that was erased and made again may be those of before.
    of: Ready
    overlay: tuple[tuple[str, int, float], ...]
    ready: Ready


class SessionViews:
    """What sessions see of bases."""

    def __init__(self, bases: Bases) -> None:
        self._bases = bases
        self._views: OrderedDict[Place, _View] = OrderedDict()

    def differs(self, place: Place) -> bool:
        """Whether a session sees another base than others do, as of the last time that `ready` was asked."""
        return place in self._views

    async def ready(self, place: Place) -> Ready:
        """The entries of a base as the place's session sees them; without a session, the base's own."""
        ready = await self._bases.ready(place)
        if not place.session:
            return ready
        overlay = await self._bases.library.sessions.overlay(Place(place.owner, place.base), place.session)
        if not overlay:
            self._views.pop(place, None)
            return ready
        key = tuple((each.entry, each.version, each.at) for each in overlay)
        view = self._views.get(place)
        if view is None or view.of is not ready or view.overlay != key:
            made = await trio.to_thread.run_sync(_laid_over, ready, overlay, place.base)
            view = self._views[place] = _View(ready, key, made)
            if len(self._views) > _KEPT:
                self._views.popitem(last=False)
        self._views.move_to_end(place)
        return view.ready


def _laid_over(ready: Ready, overlay: Sequence[Overlaid], base: str) -> Ready:
    said = {each.entry: each for each in overlay}
    items: list[Item] = []
    for item in ready.items:
        mine = said.pop(item.entry.id, None)
        if mine is None:
            items.append(item)
        elif (changed := _item(mine)) is not None:
            items.append(changed)
    items += [added for each in said.values() if (added := _item(each)) is not None]
    compiled = compile_base(base, items, info=ready.info, previous=ready.compiled)
    return Ready(ready.revision, tuple(items), compiled, ready.info)


def _item(overlaid: Overlaid) -> Item | None:
    if overlaid.document is None:
        return None
    entry, _ = read_entry(overlaid.document)
    return None if entry is None else Item(dict(overlaid.document), entry)
