"""A card as a base, and the card of a base, edits of its entries included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from innkeeper.knowledge.interchange.books import Made, new_base, read_character_book
from innkeeper.knowledge.interchange.card_entries import KEY, field_documents, is_field
from innkeeper.knowledge.interchange.cards import TEXTS, Card, card_of, written
from innkeeper.knowledge.interchange.detect import base_id
from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.model.base import SCHEMA_VERSION, Base, BaseInfo, Item
from innkeeper.knowledge.model.problems import Problem

MOST_KEPT: Final = 4 << 20
"""Bytes of a card that a base keeps, its lorebook apart. Larger ones have pictures in their text."""

_GREETINGS: Final = ("alternate_greetings", "group_only_greetings")


def card_base(card: Card, data: bytes, *, fields: bool = True) -> tuple[Base, list[Problem]]:
    """A base of a card: its lorebook, its fields as entries that are always active, and the card itself.

    Args:
        card: the card.
        data: its file, of which the base's id is made.
        fields: whether its fields become entries. Greetings become entries that nothing activates: whoever begins a
            chat chooses one.

    Returns:
        the base of what is sound, and what is wrong. It has no entries where there is nothing to take.
    """
    name = (card.name.strip() or "character")[: bounds.MOST_NAME]
    kb_id = base_id(name, data)
    problems = list(card.problems)
    book = card.book
    if book is None:
        document = {"kb_id": kb_id, "kb_version": "1.0.0", "schema_version": SCHEMA_VERSION, "kb_displayName": name}
        base = new_base(document, Made())
    else:
        base, found = read_character_book(book, kb_id, name, "data.character_book")
        problems += found
    kept, problem = _kept(card)
    if problem is not None:
        problems.append(problem)
    extensions = {**(base.document.get("kb_extensions") or {}), KEY: kept}
    made = Made()
    for item in base.items:
        made.add(item.document, "data.character_book")
    for document, where in field_documents(card) if fields else ():
        made.add(document, where)
    return new_base({**base.document, "kb_extensions": extensions}, made), problems + made.listed()


def card_of_base(base: Base) -> tuple[Card | None, Base]:
    """The card that a base keeps, with the fields that its entries say now, and the base of the lorebook alone.

    Args:
        base: any base.

    Returns:
        None where it keeps no card; its entries are a lorebook then, too.

    Raises:
        KnowledgeError: what it keeps is no card.
    """
    extensions = base.document.get("kb_extensions")
    kept = extensions.get(KEY) if isinstance(extensions, Mapping) else None
    items = [item for item in base.items if not is_field(item)]
    if not isinstance(kept, Mapping) or not isinstance(extensions, Mapping):
        return None, Base(base.document, base.info, items)
    rest = {key: value for key, value in extensions.items() if key != KEY}
    document = {key: value for key, value in base.document.items() if key != "kb_extensions"}
    if rest:
        document["kb_extensions"] = rest
    book = Base(document, BaseInfo.model_validate(document), items)
    if not isinstance(kept.get("document"), Mapping):
        return None, book
    card = card_of(dict(kept["document"]), base.info.name, "json")
    return _with_fields(card, base.items), book


def has_book(base: Base) -> bool:
    """Whether the card that a base keeps had a lorebook, or the base has entries for one (bool)."""
    kept = (base.document.get("kb_extensions") or {}).get(KEY)
    had = isinstance(kept, Mapping) and kept.get("book") is True
    return had or any(not is_field(item) for item in base.items)


def _kept(card: Card) -> tuple[dict[str, Any], Problem | None]:
    document = {key: value for key, value in card.document.items() if key != "character_book"}
    if isinstance(document.get("data"), Mapping):
        inner = document["data"]
        document["data"] = {
            # A null stays: only the lorebook itself is kept as entries.
            key: value
            for key, value in inner.items()
            if key != "character_book" or not isinstance(value, Mapping)
        }
    elif "character_book" in card.document and not isinstance(card.document["character_book"], Mapping):
        document["character_book"] = card.document["character_book"]
    size = len(written(document))
    if size > MOST_KEPT:
        said = f"has {size:,} bytes beside its lorebook; a base keeps at most {MOST_KEPT:,}: its export starts anew"
        return {"version": card.version}, Problem("data", said)
    return {"version": card.version, "book": card.book is not None, "document": document}, None


def _with_fields(card: Card, items: Sequence[Item]) -> Card:
    data = dict(card.data)
    for item in items:
        if not is_field(item):
            continue
        made = item.document["extensions"][KEY]
        key, place, text = made["field"], made.get("place"), item.entry.text
        if key in TEXTS and place == key:
            if card.text(key) != text:
                data[key] = text
        elif key in _GREETINGS and isinstance(place, str):
            _replace(card, data, key, place, text)
        elif key == "depth_prompt":
            note = data.get("extensions")
            if isinstance(note, Mapping) and isinstance(note.get(key), Mapping) and note[key].get("prompt") != text:
                data["extensions"] = {**note, key: {**note[key], "prompt": text}}
    if data == card.data:
        return card
    inner = card.document.get("data")
    document = {**card.document, "data": data} if isinstance(inner, dict) and card.version > 1 else data
    return replace(card, document=document, data=data)


def _replace(card: Card, data: dict[str, Any], key: str, place: str, text: str) -> None:
    number = place.rpartition("-")[2]
    texts = data[key] if isinstance(data.get(key), list) else card.texts(key)
    if not number.isascii() or not number.isdigit() or not 0 < int(number[:9]) <= len(texts):
        return
    if texts[int(number) - 1] != text:
        data[key] = [*texts[: int(number) - 1], text, *texts[int(number) :]]
