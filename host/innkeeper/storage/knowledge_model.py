"""What is said of knowledge bases by whoever keeps them and whoever asks: light to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

AGENT: Final = "agent_generated"
"""The source of an entry that a guest wrote last. Nobody else's entry has it."""

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
    """

    title: str = ""
    content: str = ""
    keywords: tuple[str, ...] = ()
    priority: int = 100
    enabled: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)


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
    """

    head: Head
    content: str
    metadata: Mapping[str, Any]


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
        score: above 0; higher is better. Comparable within one search only.
        matches: why it was found, what counted most first; at most eight.
    """

    head: Head
    content: str
    score: float
    matches: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which entries a search or a list is about.

    Attributes:
        source: only those of this source; None: of any.
        disabled: whether those that are not enabled are among them.
    """

    source: str | None = None
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """A knowledge base.

    Attributes:
        owner: whose it is.
        base: its id.
    """

    owner: str
    base: str


class NoSuchError(Exception):
    """There is no such base, or no such entry. The message is a sentence."""


class VersionError(Exception):
    """The entry has another version than was expected. `current` (int) is the one that it has, 0 if there is none."""

    def __init__(self, current: int) -> None:
        has = f"has version {current}" if current else "does not exist"
        super().__init__(f"the entry {has}: get it again, then write with the version that it has")
        self.current = current


class FullError(Exception):
    """A quota would be exceeded; nothing was written.

    Attributes:
        quota: which (str): "bases", "entries" or "bytes".
        value: the quota (int).
    """

    def __init__(self, quota: str, value: int) -> None:
        super().__init__(f"the quota of {value} {quota} would be exceeded: delete entries, or ask for more")
        self.quota = quota
        self.value = value
