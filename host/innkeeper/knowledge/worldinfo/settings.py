"""What world info is told beside its entries: the global settings, and one moment of a conversation."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from innkeeper.knowledge.worldinfo.javascript import rounded

MOST_DEPTH: Final = 1000
"""Messages that can be looked at."""


class Strategy(IntEnum):
    """Whose entries come first, the character's or the global ones."""

    EVENLY = 0
    CHARACTER_FIRST = 1
    GLOBAL_FIRST = 2


@dataclass(frozen=True, slots=True)
class Settings:
    """SillyTavern's global settings, with the defaults of its code.

    Attributes:
        depth: newest messages that are looked at.
        budget_percent: of the context.
        budget_cap: tokens at most; 0: no cap.
        max_context: tokens; None: no budget at all, which SillyTavern does not have.
        recursive: whether what active entries say activates others.
        case_sensitive, whole_words, group_scoring: of entries that say nothing themselves.
        min_activations: entries for which older messages are looked at; 0: none.
        min_activations_depth: messages that are looked at for it at most; 0: all.
        max_sweeps: passes over the entries at most (`max_recursion_steps`); 0: no bound but ours.
        strategy: order of the sources.
    """

    depth: int = 2
    budget_percent: float = 25
    budget_cap: float = 0
    max_context: float | None = None
    recursive: bool = False
    case_sensitive: bool = False
    whole_words: bool = False
    group_scoring: bool = False
    min_activations: int = 0
    min_activations_depth: int = 0
    max_sweeps: int = 0
    strategy: int = Strategy.CHARACTER_FIRST

    @property
    def budget(self) -> float | None:
        """Tokens that entries must stay below, or None."""
        if self.max_context is None:
            return None
        budget = rounded(self.budget_percent * self.max_context / 100) or 1
        return self.budget_cap if 0 < self.budget_cap < budget else budget


@dataclass(frozen=True, slots=True)
class Scene:
    """One moment of a conversation.

    Attributes:
        messages: the newest first, each with its name in front where names count.
        length: of the whole chat; None: as many as there are messages.
        injects: further texts that every entry looks at.
        texts: what entries can look at beside it, by the names of `entry.TEXTS`.
        character, user: their names; `{{char}}` and `{{user}}`.
        tags: of the character.
        trigger: kind of generation.
        forced: book and uid of entries that somebody else activates.
        left_out: of entries that are not wanted at all.
    """

    messages: Sequence[str] = ()
    length: int | None = None
    injects: Sequence[str] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    character: str = ""
    user: str = "User"
    tags: Collection[str] = ()
    trigger: str = "normal"
    forced: Collection[tuple[str, int | str]] = ()
    left_out: Collection[tuple[str, int | str]] = ()

    @property
    def chat_length(self) -> int:
        """Messages of the whole chat."""
        return len(self.messages) if self.length is None else self.length

    def substituted(self, text: str) -> str:
        """A text with `{{char}}` and `{{user}}` in it replaced, once. Other macros stay as they are written."""
        if not has_macro(text):
            return text
        return _MACRO.sub(lambda found: self.user if found[0].strip("{}<>").lower() == "user" else self.character, text)


_MACRO = re.compile(r"\{\{(?:char|user)\}\}|<(?:user|bot|char)>", re.IGNORECASE)


def has_macro(text: str) -> bool:
    """Whether a text may depend on who talks."""
    return ("{{" in text or "<" in text) and _MACRO.search(text) is not None
