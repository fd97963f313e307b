"""An entry of ours as one of a `character_book`."""

from __future__ import annotations

from typing import Any

from innkeeper.knowledge.interchange.book_entry import BOOK, book_of_world, world_of_book
from innkeeper.knowledge.interchange.residue import restored
from innkeeper.knowledge.interchange.world_export import around_of, source_of, with_native, world_entry
from innkeeper.knowledge.interchange.world_import import translated
from innkeeper.knowledge.model.base import Item


def exported_book_entry(item: Item, index: int, uid: int | None = None) -> dict[str, Any]:
    """An entry as a `character_book` has it: as it was read there, edits apart, or with every field.

    Args:
        item: any entry.
        index: its place in the book, from 0.
        uid: its id there; None: the one that it has or had.

    Returns:
        a new object. What CAIU knows and the format does not lies in its `extensions.innkeeper`.
    """
    document = item.document
    read = source_of(document)
    imported = read.get("format") == BOOK
    world = world_entry(item)
    if uid is not None:
        world["uid"] = uid
    around = None if imported else around_of(document)
    if around is not None:
        world["content"] = f"{around[0]}{world['content']}{around[1]}"
    book = book_of_world(world, whole=not imported or read.get("whole") is True)
    if imported:
        book = restored(book, read.get("residue"))
        if uid is not None:
            book["id"] = uid
    key = str(document["id"]) if imported else str(book["id"])
    return with_native(document, book, lambda marked: caiu_of_book(marked, index, key), around, imported)


def caiu_of_book(entry: dict[str, Any], index: int, key: str) -> dict[str, Any]:
    """An entry's document of an entry of a `character_book`; see `world_import.caiu_entry`."""
    return translated(world_of_book(entry, index), key, whole=False)[0]
