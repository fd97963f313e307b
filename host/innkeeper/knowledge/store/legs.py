"""What is made of an entry's document and kept beside it: the legs of search, which must all stand on the same text."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.model.entry import Entry, read_entry
from innkeeper.knowledge.model.problems import KnowledgeError, Problem
from innkeeper.knowledge.store.limits import MOST_DIMENSION, MOST_INFO, MOST_TERMS
from innkeeper.knowledge.store.values import Change, Vector


class Legs(Protocol):
    """Makes what search needs of an entry. The same entry always gives the same; called from any thread."""

    @property
    def key(self) -> str:
        """Changes whenever what is made changes; at most 64 characters, not empty. The store then makes it again."""
        ...

    def terms(self, entry: Entry) -> bytes:
        """The terms of full text, at most `limits.MOST_TERMS` bytes; linear in the entry's text."""
        ...

    def text(self, entry: Entry) -> str:
        """The text whose meaning the entry has: what a model of embeddings is given."""
        ...


def text_digest(text: str) -> str:
    """sha256 of a text, hexadecimal (str): under which the vector of the text is kept."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A change that was looked at, with what is kept of it.

    Attributes:
        id, expect, position, vector: as in `Change`.
        document: JSON, or None.
        enabled, source, tags: what filters ask for; tags as JSON.
        digest: of the text.
        terms: of full text.
        size: bytes that the entry counts.
    """

    id: str
    document: str | None
    expect: int | None
    position: float | None
    enabled: bool = True
    source: str = ""
    tags: str = "[]"
    digest: str = ""
    terms: bytes = b""
    size: int = 0
    vector: Vector | None = None


def prepare(changes: Iterable[Change], legs: Legs) -> list[Prepared]:
    """Looks at changes and makes what is kept of them. For a thread: it takes some 50 microseconds an entry.

    Raises:
        KnowledgeError: all that is wrong with any of them.
        ValueError: an id or a vector is none, or an id is there twice.
    """
    made: list[Prepared] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for change in changes:
        check_id(change.id)
        if change.id in seen:
            raise ValueError(f"the entry {change.id[:40]!r} is changed twice in one step")
        seen.add(change.id)
        if change.document is None:
            made.append(Prepared(change.id, None, change.expect, change.position))
            continue
        document = with_source(change.document, change.source)
        entry, found = read_entry(document)
        if entry is None:
            problems += found
        elif entry.id != change.id:
            problems.append(Problem("id", f"must be {change.id!r}, as the entry is called", entry.id[:100]))
        else:
            made.append(_prepared(change, document, entry, legs))
    if problems:
        raise KnowledgeError(problems)
    return made


_MOST_DEPTH: Final = bounds.MOST_DEPTH - 2
"""Containers inside each other in a document: in its file it lies in an array in an object."""

_LONG = re.compile(r"\d{19}")
"""Digits of a number that may be more than 64 bits."""


def check_writable(document: Mapping[str, Any], text: str, entry: str) -> None:
    """Makes sure that the file of a base that has this document can be read again.

    Args:
        document: plain data.
        text: the same as JSON.
        entry: name of the entry.

    Raises:
        KnowledgeError: it is too deep, or has a whole number of more than 64 bits.
    """
    # Few documents have to be looked through for it.
    if text.count("{") + text.count("[") <= _MOST_DEPTH and _LONG.search(text) is None:
        return
    level: list[Any] = [document]
    depth = 0
    while level:
        inner: list[Any] = []
        for each in level:
            if isinstance(each, Mapping):
                inner += each.values()
            elif isinstance(each, list | tuple):
                inner += each
            elif isinstance(each, int) and not -(1 << 63) <= each < 1 << 64:
                raise KnowledgeError(Problem("", "has a whole number of more than 64 bits: make it a text", entry))
        depth += any(isinstance(each, Mapping | list | tuple) for each in level)
        if depth > _MOST_DEPTH:
            sentence = f"has more than {_MOST_DEPTH} objects and arrays inside of each other"
            raise KnowledgeError(Problem("", sentence, entry))
        level = inner


def _prepared(change: Change, document: Mapping[str, Any], entry: Entry, legs: Legs) -> Prepared:
    text = dump(document)
    management = entry.management_metadata
    terms, digest = made_of(entry, legs)
    size = len(text.encode())
    if size > bounds.MOST_ENTRY:
        raise KnowledgeError(Problem("", f"has {size:,} bytes as JSON: the most is {bounds.MOST_ENTRY:,}", entry.name))
    check_writable(document, text, entry.name)
    if change.vector is not None:
        check_vector(change.vector)
    return Prepared(
        change.id,
        text,
        change.expect,
        change.position,
        management.is_enabled,
        management.source,
        dump(management.tags),
        digest,
        terms,
        size + len(terms),
        change.vector,
    )


def made_of(entry: Entry, legs: Legs) -> tuple[bytes, str]:
    """The terms of an entry, and the digest of its text.

    Raises:
        ValueError: the terms are too large.
    """
    terms = legs.terms(entry)
    if len(terms) > MOST_TERMS:
        raise ValueError(f"the terms of an entry have {len(terms)} bytes: the most is {MOST_TERMS}")
    return terms, text_digest(legs.text(entry))


def dump(document: Any) -> str:
    """A document as it is kept (str): JSON with its keys in their order.

    Raises:
        KnowledgeError: it has something that JSON has no words for, or half of a surrogate pair.
    """
    try:
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        raise KnowledgeError(
            "an entry has a number that is not finite, half of a surrogate pair, or what is no plain data: take it out"
        ) from None
    return text


def check_info(info: Mapping[str, Any] | None) -> None:
    """Makes sure that what a base says of itself can be kept.

    Raises:
        ValueError: it is too large.
    """
    if info is not None and len(dump(info)) > MOST_INFO:
        raise ValueError(f"what a base says of itself has at most {MOST_INFO} bytes")


def with_source(document: Mapping[str, Any], source: str | None) -> Mapping[str, Any]:
    """The document, or a copy of it that says another source."""
    if source is None:
        return document
    management = document.get("management_metadata")
    if isinstance(management, Mapping) and management.get("source") == source:
        return document
    # What is there in its place and is no map is said to be wrong by whoever reads the entry.
    if management is not None and not isinstance(management, Mapping):
        return document
    return {**document, "management_metadata": {**(management or {}), "source": source}}


def check_id(id: str) -> None:
    """Makes sure that a text can be the id of an entry.

    Raises:
        ValueError: it is empty, too long, has a NUL, or is no text of Unicode.
    """
    if not 1 <= len(id) <= bounds.MOST_ID:
        raise ValueError(f"the id of an entry has 1 to {bounds.MOST_ID} characters")
    try:
        id.encode()
    except UnicodeEncodeError:
        raise ValueError("the id of an entry has half of a surrogate pair: it must be text of Unicode") from None
    if "\0" in id:
        raise ValueError("the id of an entry has a NUL character: leave it out")


def check_vector(vector: Vector) -> None:
    """Makes sure that a vector is one. For a thread: it imports numpy.

    Raises:
        ValueError: its size is another, or a number is not finite.
    """
    import numpy as np

    if not 1 <= vector.dimension <= MOST_DIMENSION or len(vector.data) != 2 * vector.dimension:
        raise ValueError(f"a vector has 1 to {MOST_DIMENSION} numbers, and 2 bytes for each")
    if not 1 <= len(vector.model) <= 200:
        raise ValueError("the model of a vector has a name of 1 to 200 characters")
    if not np.isfinite(np.frombuffer(vector.data, "<f2")).all():
        raise ValueError("a vector has a number that is not finite")
