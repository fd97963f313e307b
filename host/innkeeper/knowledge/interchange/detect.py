"""Which kind of lorebook a file is, and the base that it makes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from innkeeper.knowledge.interchange.agnai import KIND as AGNAI
from innkeeper.knowledge.interchange.agnai import read_agnai
from innkeeper.knowledge.interchange.books import read_character_book, read_world_book
from innkeeper.knowledge.interchange.cards import LOOKS_LIKE_A_CARD, is_card_container, read_card
from innkeeper.knowledge.interchange.charx import has_card
from innkeeper.knowledge.interchange.novelai import KIND as NOVELAI
from innkeeper.knowledge.interchange.novelai import read_novelai
from innkeeper.knowledge.interchange.png import SIGNATURE, read_texts
from innkeeper.knowledge.interchange.reading import MOST_JSON, read_base64, read_json
from innkeeper.knowledge.interchange.risuai import KIND as RISUAI
from innkeeper.knowledge.interchange.risuai import read_risuai
from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.model.base import Base
from innkeeper.knowledge.model.problems import KnowledgeError, Problem

NAIDATA = "naidata"
"""The keyword of NovelAI's text chunk."""

_BOOK_KEYS = frozenset({"keys", "secondary_keys", "insertion_order"})


@dataclass(frozen=True, slots=True)
class Imported:
    """A lorebook that was read.

    Attributes:
        kind: "world_info", "character_book", "lorebook_v3", "card", "novelai", "agnai" or "risuai".
        base: what is sound in it.
        problems: the rest, with entry and field.
    """

    kind: str
    base: Base
    problems: list[Problem] = field(default_factory=list)


def read_lorebook(data: bytes, name: str) -> Imported | None:
    """A lorebook of any kind, or a card's, as a base. It computes up to a second: not for trio's thread.

    Args:
        data: the file.
        name: its name, without its folders.

    Returns:
        None: it is none of them.

    Raises:
        KnowledgeError: it is one of them, and cannot be read.
    """
    stem = re.sub(r"\.[A-Za-z0-9]{1,9}$", "", name).strip() or "lorebook"
    if data.startswith(SIGNATURE):
        for text in read_texts(data, name):
            if text.keyword.lower() == NAIDATA:
                data = read_base64(text.text, f"the chunk {NAIDATA!r}", name, MOST_JSON)
                return lorebook_of(read_json(data, name), stem, name, data)
    if is_card_container(data):
        # An archive or a picture without a card is somebody else's.
        return _of_card(data, stem, name) if data.startswith(SIGNATURE) or has_card(data, name) else None
    start = data[:2000].lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start != b"{":
        return None
    return lorebook_of(read_json(data, name), stem, name, data)


def lorebook_of(raw: Any, stem: str, name: str, data: bytes = b"") -> Imported | None:
    """As `read_lorebook`, of plain data that was read already.

    Args:
        raw: the file as plain data; never changed.
        stem: what the base is called where the file says nothing.
        name: of the file, for messages.
        data: the file, of which the base's id is made.
    """
    if not isinstance(raw, Mapping):
        return None
    stem = stem[: bounds.MOST_NAME]
    called = raw.get("name")
    kb_id = base_id(called[:200] if isinstance(called, str) and called.strip() else stem, data)
    try:
        return _read(raw, kb_id, stem, name, data)
    except KnowledgeError as error:
        raise KnowledgeError(error.problems, source=name) from None


def base_id(name: str, data: bytes) -> str:
    """An id for the base of a file: the same file gives the same.

    Args:
        name: of the file.
        data: what is in it.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48].strip("-") or "lorebook"
    return f"{slug}-{hashlib.sha256(data).hexdigest()[:8]}"


def _read(raw: Mapping[str, Any], kb_id: str, stem: str, name: str, data: bytes) -> Imported | None:
    entries = raw.get("entries")
    if raw.get("spec") == "lorebook_v3":
        inner = raw.get("data")
        if not isinstance(inner, Mapping):
            raise KnowledgeError(Problem("data", "should be an object with the lorebook"))
        return Imported("lorebook_v3", *read_character_book(inner, kb_id, stem, "data"))
    if raw.keys() & LOOKS_LIKE_A_CARD and ("data" in raw or "entries" not in raw):
        return _of_card(data, stem, name)
    if "kb_id" in raw:
        return None
    if "lorebookVersion" in raw:
        return Imported(NOVELAI, *read_novelai(raw, kb_id, stem))
    if raw.get("kind") == "memory":
        return Imported(AGNAI, *read_agnai(raw, kb_id, stem))
    if raw.get("type") == "risu":
        return Imported(RISUAI, *read_risuai(raw, kb_id, stem))
    if isinstance(entries, Mapping):
        return Imported("world_info", *read_world_book(raw, kb_id, stem))
    if isinstance(entries, list) and any(isinstance(each, Mapping) and each.keys() & _BOOK_KEYS for each in entries):
        return Imported("character_book", *read_character_book(raw, kb_id, stem))
    return None


def _of_card(data: bytes, stem: str, name: str) -> Imported:
    card = read_card(data, name)
    book = card.book
    if book is None:
        said = f"the card of {card.name!r} has no lorebook; `innkeeper card import` takes its fields as entries"
        raise KnowledgeError(said[:300], source=name)
    label = str(book.get("name") or card.name or stem)[: bounds.MOST_NAME]
    try:
        base, problems = read_character_book(book, base_id(label, data), label, "data.character_book")
    except KnowledgeError as error:
        raise KnowledgeError(error.problems, source=name) from None
    return Imported("card", base, problems)
