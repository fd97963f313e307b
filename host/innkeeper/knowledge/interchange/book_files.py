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
        numbers.passed(key)
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
    """Gives entries numbers that no other has, ascending: whoever reads the book goes through it by number."""

    def __init__(self, items: list[Item]) -> None:
        self._kept = {uid for item in items if _is_kept(item) and (uid := _own(item)) is not None}
        self._last = -1

    def of(self, item: Item) -> int:
        """The number that an entry has, if it is free and follows the last; else the next."""
        uid = _own(item)
        if uid is None or uid <= self._last or uid in self._kept:
            return self.next()
        self._last = uid
        return uid

    def passed(self, key: str) -> None:
        """An entry keeps its own key."""
        if key.isascii() and key.isdigit() and len(key) < 16:
            self._last = max(self._last, int(key))

    def next(self) -> int:
        """A number that nobody has or keeps."""
        self._last += 1
        while self._last in self._kept:
            self._last += 1
        return self._last


def _own(item: Item) -> int | None:
    uid = uid_of(item.document)
    return uid if str(uid) == source_of(item.document).get("key", item.entry.id) else None


def _is_kept(item: Item) -> bool:
    return source_of(item.document).get("format") in (WORLD, BOOK)
