"""What is said of knowledge bases by whoever keeps them and whoever asks: light to import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

AGENT: Final = "agent_generated"
"""The source of an entry that a guest wrote last. Nobody else's entry has it."""

PROJECT: Final = "project."
"""How the ids begin under which the own bases of projects are kept, apart from those that everybody may name."""

MOST_TITLE: Final = 200
"""Characters of a title."""

MOST_CONTENT: Final = 32 * 1024
"""Bytes of an entry's content: a page of prose is a tenth of it. What one entry costs the only writer hangs on it."""

MOST_KEYWORDS: Final = 64
MOST_KEYWORD: Final = 100
"""Characters of a keyword."""

MOST_METADATA: Final = 8 * 1024
"""Bytes of an entry's metadata as msgpack."""

MOST_QUERY: Final = 2000
"""Characters of a query: a few paragraphs of a conversation."""

MOST_HITS: Final = 50
"""Entries that one search gives."""

MOST_LISTED: Final = 100
"""Entries that one `list` gives."""

MOST_PRIORITY: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody wants an entry to be.

    Attributes:
        title: for people; may be empty.
        content: what it says.
        keywords: words that stand for it.
        priority: higher goes first among entries that match alike.
        enabled: whether searches find it.
        metadata: whatever else belongs to it, as plain data.
        fields: further fields of the entry's document, such as {"usage_metadata": {"role": "system"}}: maps are merged
            into those that are there, whatever else takes their place, and None takes a field away.
    """

    title: str = ""
    content: str = ""
    keywords: tuple[str, ...] = ()
    priority: int = 100
    enabled: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Head:
    """An entry without its content and metadata.

    Attributes:
        id: unique in its base.
        title, keywords, priority, enabled: as in `Draft`.
        source: where it comes from; `AGENT` where a guest wrote it last, whoever wrote it first.
        author: id of the plugin that wrote it last, or "".
        version: above 0; grows with each change in the base, and is never given twice.
        created, updated: seconds since 1970.
    """

    id: str
    title: str
    keywords: tuple[str, ...]
    priority: int
    enabled: bool
    source: str
    author: str
    version: int
    created: float
    updated: float


@dataclass(frozen=True, slots=True)
class Entry:
    """A whole entry.

    Attributes:
        head: all but its content and metadata.
        content: what it says.
        metadata: whatever else belongs to it.
        document: the whole entry as its author wrote it.
    """

    head: Head
    content: str
    metadata: Mapping[str, Any]
    document: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Match:
    """Why an entry was found.

    Attributes:
        term: what matched, as it is compared: in normal form and folded case.
        field: "keyword", "title" or "content": the first of these that has it.
    """

    term: str
    field: str


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry that a search found.

    Attributes:
        head: all but its content and metadata.
        content: what it says.
        score: higher is better. Comparable within one search only.
        matches: the words that it was found by, what counted most first; at most eight.
        cosine: likeness of its meaning to the query, -1 to 1; None where nobody compared.
    """

    head: Head
    content: str
    score: float
    matches: tuple[Match, ...]
    cosine: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Attributes:
        hits: the best first.
        notes: sentences on what did not work as it should, such as a model that could not be reached.
    """

    hits: Sequence[Hit]
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """What a search is for.

    Attributes:
        text: in words, at most `MOST_QUERY` characters.
        vector: of the base's model, in place of the text's own; None: it is made of the text.
        mode: "hybrid", "keyword" or "semantic".
        k: how many entries at most, 1 to `MOST_HITS`.
    """

    text: str = ""
    vector: Sequence[float] | None = None
    mode: str = "hybrid"
    k: int = 10


@dataclass(frozen=True, slots=True)
class Filters:
    """Which entries a search or a list is about.

    Attributes:
        source: only those of this source; None: of any.
        disabled: whether those that are not enabled are among them.
        tags: only those that have one of these; empty: all.
        types: only those of one of these types; empty: of any.
    """

    source: str | None = None
    disabled: bool = False
    tags: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """A knowledge base.

    Attributes:
        owner: whose it is.
        base: its id.
        session: a session whose overlay lies over the base, and takes what is written; "": the base itself.
    """

    owner: str
    base: str
    session: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of an entry.

    Attributes:
        number: of the step in its base, growing; the version that the entry had after it, unless it was deleted.
        entry: id of the entry.
        kind: "put" or "delete".
        author: id of the plugin that made it, or "".
        at: seconds since 1970.
        existed: whether the entry was there before.
    """

    number: int
    entry: str
    kind: str
    author: str
    at: float
    existed: bool


class NoSuchError(Exception):
    """There is no such base, or no such entry. The message is a sentence."""


class VersionError(Exception):
    """The entry has another version than was expected. `current` (int) is the one that it has, 0 if there is none."""

    def __init__(self, current: int) -> None:
        has = f"has version {current}" if current else "does not exist"
        super().__init__(f"the entry {has}: get it again, then write with the version that it has")
        self.current = current


class HeldError(Exception):
    """The operator wants to see the change first: it waits. `change` (int) is its number."""

    def __init__(self, change: int) -> None:
        super().__init__(f"the change {change} waits for the operator")
        self.change = change


class AwayError(Exception):
    """What is needed for this is not here or does not answer: the model of a base, the file of a base. The message is a
    sentence."""


class FullError(Exception):
    """A quota would be exceeded; nothing was written.

    Attributes:
        quota: which (str): "bases", "entries", "bytes" or "vectors".
        value: the quota (int).
    """

    def __init__(self, quota: str, value: int, sentence: str = "") -> None:
        super().__init__(sentence or f"the quota of {value} {quota} would be exceeded: delete entries, or ask for more")
        self.quota = quota
        self.value = value
