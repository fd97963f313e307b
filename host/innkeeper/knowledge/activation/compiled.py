"""An entry as activation needs it. `compiling` makes it; nothing changes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from innkeeper.knowledge.activation.conditions import Node
from innkeeper.knowledge.activation.content import Piece
from innkeeper.knowledge.activation.decorators import Decorators
from innkeeper.knowledge.keywords.boundaries import Mode
from innkeeper.knowledge.keywords.keys import Pattern
from innkeeper.knowledge.model.base import Item
from innkeeper.knowledge.model.entry import CRITICAL, Entry
from innkeeper.knowledge.model.sillytavern import SillyTavern
from innkeeper.knowledge.regexes.interface import Regex


@dataclass(frozen=True, slots=True)
class Key:
    """A key of an entry: exactly one of the three, or none of them for a key that is never met.

    Attributes:
        written: as the author wrote it.
        pattern: of a word.
        regex: of a regular expression.
        macro: whether its text hangs on the conversation, with the pattern's case and mode.
    """

    written: str
    pattern: Pattern | None = None
    regex: Regex | None = None
    macro: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Keys that count together."""

    name: str
    logic: str
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class CompiledEntry:
    """An entry.

    Attributes:
        item: what it was made of.
        entry: the same, for short.
        extra: what SillyTavern adds.
        decorators: at the head of its text.
        keywords: one of them is enough; blank ones are left out.
        groups: each must hold.
        conditions: all must hold.
        always: it is active whatever is said.
        once: it may be active once in a session.
        timed: something hangs on when it was active.
        scan_depth: of its own, or None.
        texts: kinds of other texts that it looks at.
        inclusion: names of its inclusion groups.
        delayed: the level of recursion from which it can be active; 0: at once.
        pieces: its text without decorators.
        prefix, suffix: around it, in pieces.
        defines: variables that it sets.
        placement, role, depth, reverse_depth, outlet: where it goes.
        media: path and MIME type, or None.
        is_group: its own text is never inserted.
        mode, sensitive: of its keys, for those with macros.
        patterns: all words among its keys.
        calling: those of which one must occur before its words can be met.
        called: whether it may become active without one of these: always active, by its conditions, by a regular
            expression or by a key with a macro.
        has_macros: whether it has keys with macros.
    """

    item: Item
    entry: Entry
    extra: SillyTavern
    decorators: Decorators
    keywords: tuple[Key, ...]
    groups: tuple[Group, ...]
    conditions: tuple[Node, ...]
    always: bool
    once: bool
    timed: bool
    scan_depth: int | None
    texts: frozenset[str]
    inclusion: tuple[str, ...]
    delayed: int
    pieces: tuple[Piece, ...]
    prefix: tuple[Piece, ...]
    suffix: tuple[Piece, ...]
    defines: dict[str, Any]
    placement: str
    role: str | None
    depth: int | None
    reverse_depth: int | None
    outlet: str
    media: tuple[str, str] | None
    is_group: bool
    mode: Mode
    sensitive: bool
    patterns: tuple[Pattern, ...]
    calling: tuple[Pattern, ...]
    called: bool
    has_macros: bool

    @property
    def id(self) -> str:
        """Its id."""
        return self.entry.id

    @property
    def critical(self) -> bool:
        """Whether it must be there whatever the budget."""
        return self.entry.usage_metadata.token_budget_impact == CRITICAL

    @property
    def asks_words(self) -> bool:
        """Whether there are words that could be met."""
        return bool(self.keywords) or any(group.logic in ("AND", "OR") and group.keys for group in self.groups)

    @property
    def keys(self) -> list[Key]:
        """All its keys."""
        return all_keys(self.keywords, self.groups)

    @property
    def asks_conditions_only(self) -> bool:
        """Whether nothing but its conditions can activate it."""
        semantic = self.entry.activation_criteria.use_semantic_search
        return bool(self.conditions) and not (self.asks_words or semantic or self.always)


def all_keys(keywords: Sequence[Key], groups: Sequence[Group]) -> list[Key]:
    """The keys of an entry, those of its groups included."""
    return [*keywords, *(key for group in groups for key in group.keys)]
