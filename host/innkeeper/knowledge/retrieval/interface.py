"""What a search is asked and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from innkeeper.knowledge.model.entry import Entry

MOST_HITS: Final = 200
"""Hits of one search."""

MOST_TAGS: Final = 100
"""Tags, scopes, types or sources of one search's filters."""


class Mode(Enum):
    """By what entries are found."""

    HYBRID = "hybrid"
    KEYWORD = "keyword"
    SEMANTIC = "semantic"


@dataclass(frozen=True, slots=True)
class Indexed:
    """What of an entry is searched.

    Attributes:
        id: of the entry.
        terms: `text.blob.entry_terms` of it.
        vector: of length 1, float32 of shape (dimension,), as its model made it; None: it has none.
        entry_type, source, tags, enabled, priority: of the entry.
        semantic: whether likeness of meaning can activate it.
    """

    id: str
    terms: bytes
    vector: NDArray[np.float32] | None = None
    entry_type: str = ""
    source: str = ""
    tags: Sequence[str] = ()
    enabled: bool = True
    priority: float = 0.0
    semantic: bool = False


@dataclass(frozen=True, slots=True)
class Removed:
    """An entry that is there no more."""

    id: str


Change = Indexed | Removed


def indexed(entry: Entry, terms: bytes, vector: NDArray[np.float32] | None = None) -> Indexed:
    """What of an entry is searched.

    Args:
        entry: whole.
        terms: `text.blob.entry_terms` of it, as kept.
        vector: of it, as kept, or None.
    """
    management = entry.management_metadata
    return Indexed(
        entry.id,
        terms,
        vector,
        entry.entry_type,
        management.source,
        tuple(management.tags),
        management.is_enabled,
        float(entry.usage_metadata.priority),
        entry.activation_criteria.use_semantic_search,
    )


@dataclass(frozen=True, slots=True)
class Filters:
    """Which entries may be found. Each of these must let an entry through.

    Attributes:
        tags: it has all of them.
        scope: it has at least one of them; empty: every entry.
        types: its type is one of them; empty: every entry.
        sources: its source is one of them; empty: every entry.
        enabled: whether it must be enabled: True, False, or None for both.
    """

    tags: Sequence[str] = ()
    scope: Sequence[str] = ()
    types: Sequence[str] = ()
    sources: Sequence[str] = ()
    enabled: bool | None = True

    def __post_init__(self) -> None:
        for name in ("tags", "scope", "types", "sources"):
            if len(getattr(self, name)) > MOST_TAGS:
                raise ValueError(f"a filter has more than {MOST_TAGS} {name}")


@dataclass(frozen=True, slots=True)
class Match:
    """A term that query and entry share.

    Attributes:
        term: as it is indexed: the stem of a word, or a pair of characters.
        fields: where the entry has it, of "name", "keywords" and "content".
    """

    term: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry that was found, and why.

    Attributes:
        id: of the entry.
        score: by which hits are ordered, larger is better. Comparable within one answer only.
        matches: terms that it shares with the query, those that count most first.
        bm25: its score by words, 0 or more, or None where words were not asked.
        cosine: of its vector and the query's, -1 to 1, or None where it has none or meaning was not asked.
        z_keyword, z_semantic: how many standard deviations each of these is above the base's mean for this query.
    """

    id: str
    score: float
    matches: tuple[Match, ...] = ()
    bm25: float | None = None
    cosine: float | None = None
    z_keyword: float | None = None
    z_semantic: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search found.

    Attributes:
        hits: the best first.
        mode: by what they were found in the end.
        notes: sentences on what did not work as it was asked, such as a model that could not be reached.
        exact: whether every vector was looked at; False: an index proposed some.
        weight: of the likeness of meaning beside words, 0 to 0.5.
        damping: what was left of the words' weight, since the entries share little with the query, 0 to 1.
    """

    hits: Sequence[Hit]
    mode: Mode
    notes: Sequence[str] = ()
    exact: bool = True
    weight: float = 0.0
    damping: float = 1.0
