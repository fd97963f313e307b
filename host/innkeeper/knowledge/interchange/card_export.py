"""Cards as files: V2 and V3 as JSON, PNG and CHARX, with the lorebook that a base has now."""

from __future__ import annotations

import base64
from typing import Any, Final

from innkeeper.knowledge.interchange.book_files import character_book
from innkeeper.knowledge.interchange.cards import KEYWORDS, TEXTS, Card, written
from innkeeper.knowledge.interchange.charx import asset_path, read_asset, read_assets, write_charx
from innkeeper.knowledge.interchange.png import SIGNATURE, blank, with_texts
from innkeeper.knowledge.model.base import Base
from innkeeper.knowledge.model.problems import KnowledgeError

SPECS: Final = {2: ("chara_card_v2", "2.0"), 3: ("chara_card_v3", "3.0")}

_OURS: Final = "innkeeper"
"""In the extensions of a card that was made of another version: what no field of this one can hold."""

_V2_TEXTS: Final = tuple(key for key in TEXTS if key != "nickname")


def with_book(card: Card, base: Base | None) -> dict[str, Any]:
    """A card's document with another lorebook; the rest of it is as it was.

    Args:
        card: the card.
        base: what becomes its lorebook; None: the card stays as it is.

    Returns:
        a new document; equal to the old one where the base was read in this card and nobody edited it.
    """
    if base is None:
        return card.document
    book = character_book(base)
    inner = card.document.get("data")
    legacy = "character_book" in card.document and not (isinstance(inner, dict) and inner.get("character_book"))
    if isinstance(inner, dict) and not legacy:
        return {**card.document, "data": {**inner, "character_book": book}}
    return {**card.document, "character_book": book}


def card_document(card: Card, version: int, base: Base | None = None) -> dict[str, Any]:
    """A card as V2 or V3.

    Args:
        card: the card; one of the same version comes out as it was, unknown fields and all.
        version: 2 or 3.
        base: what becomes its lorebook; None: the card's own.

    Returns:
        a new document. From V3 to V2 no field is dropped: V2 keeps what it does not know.
    """
    document = with_book(card, base)
    if card.version == version:
        return document
    spec, spec_version = SPECS[version]
    inner = document.get("data")
    data: dict[str, Any] = dict(inner) if isinstance(inner, dict) and card.version > 1 else dict(card.data)
    if card.version == 1 and "character_book" in document:
        data["character_book"] = document["character_book"]
    for key in _V2_TEXTS:
        if not isinstance(data.get(key), str):
            data[key] = card.text(key)
    for key in ("alternate_greetings", "tags", *(("group_only_greetings",) if version == 3 else ())):
        data[key] = card.texts(key)
    # What stands where an object must be is kept where nobody else looks for something.
    odd = {key: data.pop(key) for key in ("extensions", "character_book") if not isinstance(data.get(key, {}), dict)}
    kept = {key: value for key, value in odd.items() if value is not None}
    data["extensions"] = {**data.get("extensions", {}), **({_OURS: kept} if kept else {})}
    if version == 3 and isinstance(data.get("character_book"), dict):
        data["character_book"] = _for_v3(data["character_book"])
    outer = document if card.version > 1 else {}
    return {**outer, "spec": spec, "spec_version": spec_version, "data": data}


def new_card(name: str, base: Base) -> Card:
    """A card that has nothing but a name and a lorebook.

    Args:
        name: of the character.
        base: what becomes its lorebook.
    """
    data: dict[str, Any] = dict.fromkeys(_V2_TEXTS, "")
    data |= {"name": name, "alternate_greetings": [], "tags": [], "extensions": {}}
    data["character_book"] = character_book(base)
    spec, version = SPECS[2]
    document = {"spec": spec, "spec_version": version, "data": data}
    return Card(document, 2, "json", data)


def card_png(card: Card, base: Base | None = None, picture: bytes | None = None, source: str = "") -> bytes:
    """A card as PNG, with both text chunks as front ends write them.

    Args:
        card: the card.
        base: what becomes its lorebook; None: the card's own.
        picture: a PNG or APNG of which everything else stays as it is; None: one transparent pixel.
        source: name of the picture's file, for messages.

    Raises:
        KnowledgeError: the picture is no PNG, or damaged.
    """
    picture = blank() if picture is None else picture
    if not picture.startswith(SIGNATURE):
        raise KnowledgeError("the picture is no PNG", source=source)
    three = card_document(card, 3, base)
    two = card_document(card, 2, base)
    texts = [("chara", base64.b64encode(written(two))), ("ccv3", base64.b64encode(written(three)))]
    return with_texts(picture, texts, KEYWORDS, source)


def card_picture(card: Card, data: bytes, source: str) -> bytes | None:
    """The picture that a card's own file has, if it is a PNG: the file itself, or the main icon of a CHARX.

    Args:
        card: the card.
        data: its file, or b"".
        source: name of the file, for messages.
    """
    if data.startswith(SIGNATURE):
        return data
    if card.container != "charx" or not data:
        return None
    assets = card.data.get("assets")
    for asset in assets if isinstance(assets, list) else []:
        if isinstance(asset, dict) and asset.get("type") == "icon" and isinstance(asset.get("uri"), str):
            path = asset_path(asset["uri"])
            if path in card.files:
                found = read_asset(data, path, source)
                if found.startswith(SIGNATURE):
                    return found
    return None


def card_charx(card: Card, base: Base | None = None, archive: bytes | None = None, source: str = "") -> bytes:
    """A card as CHARX (V3).

    Args:
        card: the card.
        base: what becomes its lorebook; None: the card's own.
        archive: the CHARX whose assets go along; None: none.
        source: name of its file, for messages.

    Raises:
        KnowledgeError: the archive is none, or something of it is refused.
    """
    assets = {} if archive is None else read_assets(archive, source)
    return write_charx(written(card_document(card, 3, base)), assets, source)


def _for_v3(book: dict[str, Any]) -> dict[str, Any]:
    entries = book.get("entries")
    if not isinstance(entries, list):
        return book
    # The two fields that V3 demands.
    whole = [{"use_regex": False, "constant": False, **each} if isinstance(each, dict) else each for each in entries]
    return {**book, "entries": whole}
