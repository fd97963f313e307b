"""Bases as world books and as `character_book`s."""

from __future__ import annotations

from typing import Any

from innkeeper.knowledge.interchange.book_entry import BOOK
from innkeeper.knowledge.interchange.book_export import exported_book_entry
from innkeeper.knowledge.interchange.tops import top_of
from innkeeper.knowledge.interchange.world_export import WORLD, exported_entry, source_of, uid_of
from innkeeper.knowledge.model.base import Base, Item


def world_book(base: Base) -> dict[str, Any]:
    """A base as a world book.

    Returns:
        plain data for JSON. A base that was read in a world book comes out equal field by field, edits apart.
    """
    entries: dict[str, Any] = {}
    numbers = _Numbers(base.items)
    for item in base.items:
        read = source_of(item.document)
        imported = read.get("format") == WORLD
        uid = None if imported else numbers.of(item)
        key = str(read.get("key", item.entry.id)) if imported else str(uid)
        if key in entries:
            # Two books were put together: the later entry gets another number.
            uid = numbers.next()
            key = str(uid)
        entries[key] = exported_entry(item, uid, key)
    return {**top_of(base.document, WORLD), "entries": entries}


def character_book(base: Base) -> dict[str, Any]:
    """A base as a `character_book` of a card V2 or V3.

    Returns:
        plain data for JSON. A base that was read in one comes out equal field by field, edits apart.
    """
    numbers = _Numbers(base.items)
    entries = []
    for index, item in enumerate(base.items):
        imported = source_of(item.document).get("format") == BOOK
        entries.append(exported_book_entry(item, index, None if imported else numbers.of(item)))
    top = top_of(base.document, BOOK)
    if (base.document.get("kb_extensions") or {}).get("sillytavern") is None:
        top.setdefault("extensions", {})
    return {**top, "entries": entries}


class _Numbers:
    """Gives each entry a number that no other has."""

    def __init__(self, items: list[Item]) -> None:
        self._used: set[int] = set()
        self._wanted = {uid for item in items if (uid := _own(item)) is not None}
        self._last = -1

    def of(self, item: Item) -> int:
        """The number that an entry has, if it is free; else another."""
        uid = _own(item)
        if uid is None or uid in self._used:
            return self.next()
        self._used.add(uid)
        return uid

    def next(self) -> int:
        """A number that nobody has or wants."""
        self._last += 1
        while self._last in self._used or self._last in self._wanted:
            self._last += 1
        self._used.add(self._last)
        return self._last


def _own(item: Item) -> int | None:
    uid = uid_of(item.document)
    return uid if str(uid) == source_of(item.document).get("key", item.entry.id) else None
